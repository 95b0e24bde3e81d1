from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.training import Minibatches


def orders(backend: str, seed: int) -> list[list[int]]:
    """The examples of the minibatches of two epochs; example n is the number n."""
    be = cv.backend(backend, dtype="float64")
    n = np.arange(10.0)
    model = cv.Model(lambda w, x: x[:, None] * w, be.asarray(np.ones(1)))
    problem = cv.Problem(model, cv.Gaussian(1.0), (be.asarray(n), be.asarray(n[:, None])))
    minibatches = Minibatches(problem, 3, seed=seed)
    return [[int(v) for v in be.to_numpy(batch.x)] for epoch in (1, 2) for batch in minibatches.epoch(epoch)]


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
    for batch in Minibatches(problem, 2).epoch(1):
        np.testing.assert_array_equal(batch.x["a"], batch.y)
        np.testing.assert_array_equal(batch.x["b"], -batch.y)
        np.testing.assert_array_equal(batch.weights, batch.y[:, 0] + 1)


def test_without_a_size_all_examples_come_as_they_are(problem: cv.Problem) -> None:
    minibatches = Minibatches(problem)
    assert minibatches.steps == 1
    assert minibatches.examples == 200
    assert list(minibatches.epoch(1)) == [problem.data.single]


def test_data_in_batches_keeps_them(problem: cv.Problem) -> None:
    whole = problem.data.single
    assert whole is not None
    halves = [(whole.x[:50], whole.y[:50]), (whole.x[50:], whole.y[50:])]
    minibatches = Minibatches(problem.at(data=halves))
    assert minibatches.steps == 2
    assert [batch.size for batch in minibatches.epoch(1)] == [50, 150]
    with pytest.raises(cv.DataError, match="in batches already"):
        Minibatches(problem.at(data=halves), 10)


@pytest.mark.parametrize("size", [0, -1, 201, 2.5, True])
def test_a_size_out_of_range_is_refused(problem: cv.Problem, size: Any) -> None:
    with pytest.raises(cv.DataError, match="between 1 and the number of examples, 200"):
        Minibatches(problem, size)
    with pytest.raises(cv.DataError, match="between 1 and the number of examples, 200"):
        Minibatches(problem, lambda step, examples: size).ends()


def test_a_seed_that_cannot_be_is_refused(problem: cv.Problem) -> None:
    for seed in (-1, 0.5):
        with pytest.raises(cv.DataError, match="seed is an integer ≥ 0"):
            Minibatches(problem, 10, seed=seed)  # type: ignore[arg-type]


def test_an_epoch_can_be_taken_up_anywhere(problem: cv.Problem) -> None:
    minibatches = Minibatches(problem, 30, seed=3)
    whole = [batch.y for batch in minibatches.epoch(7)]
    for skip in range(len(whole) + 1):
        rest = [batch.y for batch in Minibatches(problem, 30, seed=3).epoch(7, skip=skip)]
        assert [y.tolist() for y in rest] == [y.tolist() for y in whole[skip:]]


def test_batches_of_the_data_can_be_skipped(problem: cv.Problem) -> None:
    whole = problem.data.single
    assert whole is not None
    halves = [(whole.x[:50], whole.y[:50]), (whole.x[50:], whole.y[50:])]
    assert [batch.size for batch in Minibatches(problem.at(data=halves)).epoch(1, skip=1)] == [150]
    assert list(Minibatches(problem).epoch(1, skip=1)) == []
