from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.fit import Minibatches


def orders(backend: str, seed: int) -> list[list[int]]:
    """The examples of the minibatches of two epochs; example n is the number n."""
    be = cv.backend(backend, dtype="float64")
    n = np.arange(10.0)
    model = cv.Model(lambda w, x: x[:, None] * w, be.asarray(np.ones(1)))
    problem = cv.Problem(model, cv.Gaussian(1.0), (be.asarray(n), be.asarray(n[:, None])))
    minibatches = Minibatches(problem, 3, seed=seed)
    return [[int(v) for v in be.to_numpy(batch.x)] for _ in range(2) for batch in minibatches.epoch()]


def test_one_seed_gives_one_order_on_every_backend() -> None:
    pytest.importorskip("torch")
    assert orders("numpy", 5) == orders("torch", 5)
    assert orders("numpy", 5) != orders("numpy", 6)


def test_an_epoch_shows_no_example_twice_and_the_next_is_shuffled_anew() -> None:
    batches = orders("numpy", 0)
    assert [len(batch) for batch in batches] == [3] * 6
    first, second = [*chain(*batches[:3])], [*chain(*batches[3:])]
    assert len(set(first)) == len(set(second)) == 9
    assert first != second


def test_targets_weights_and_trees_of_inputs_go_along() -> None:
    n = np.arange(6.0)
    model = cv.Model(lambda w, x: (x["a"] + x["b"]) * w, np.ones(1))
    problem = cv.Problem(model, cv.Gaussian(1.0), ({"a": n[:, None], "b": -n[:, None]}, n[:, None], n + 1))
    for batch in Minibatches(problem, 2).epoch():
        np.testing.assert_array_equal(batch.x["a"], batch.y)
        np.testing.assert_array_equal(batch.x["b"], -batch.y)
        np.testing.assert_array_equal(batch.weights, batch.y[:, 0] + 1)


def test_without_a_size_all_examples_come_as_they_are(problem: cv.Problem) -> None:
    minibatches = Minibatches(problem)
    assert minibatches.steps == 1
    assert list(minibatches.epoch()) == [problem.data.single]


def test_data_in_batches_keeps_them(problem: cv.Problem) -> None:
    whole = problem.data.single
    assert whole is not None
    halves = [(whole.x[:50], whole.y[:50]), (whole.x[50:], whole.y[50:])]
    minibatches = Minibatches(problem.at(data=halves))
    assert minibatches.steps == 2
    assert [batch.size for batch in minibatches.epoch()] == [50, 150]
    with pytest.raises(cv.DataError, match="in batches already"):
        Minibatches(problem.at(data=halves), 10)


@pytest.mark.parametrize("size", [0, -1, 201, 2.5])
def test_a_size_out_of_range_is_refused(make_problem: Callable[..., cv.Problem], size: Any) -> None:
    with pytest.raises(cv.DataError, match="between 1 and the number of examples, 200"):
        Minibatches(make_problem(cv.backend("numpy")), size)
