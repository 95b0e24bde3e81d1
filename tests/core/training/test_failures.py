"""Numbers that fail: what is said, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.optim import GradientDescent


class Failing(GradientDescent):
    """Gradient descent whose steps from ``first`` on go wrong in the way asked for."""

    def __init__(self, how: str, first: int, last: int = 10**9) -> None:
        super().__init__(0.1)
        self.how, self.first, self.last = how, first, last

    def step(self, params: Any, state: Any, data: Any = None) -> Any:
        moved, following, info = super().step(params, state, data)
        if not self.first <= following.step <= self.last:
            return moved, following, info
        if self.how == "raises":
            raise cv.NotPositiveDefiniteError("the matrix is not positive definite")
        if self.how == "loss":
            return moved, following, replace(info, loss=math.nan)
        if self.how == "rejected":
            return params, following, replace(info, loss=math.inf, accepted=False)
        # The next loss will not be finite, but nobody knows it yet.
        return [{name: a * math.inf for name, a in layer.items()} for layer in moved], following, info


def after(problem: cv.Problem, steps: int) -> Any:
    """The parameters after so many good steps."""
    seen: list[Any] = [problem.params]

    class Watched(GradientDescent):
        def step(self, params: Any, state: Any, data: Any = None) -> Any:
            moved = super().step(params, state, data)
            seen.append(moved[0])
            return moved

    cv.fit(problem, Watched(0.1), epochs=5, batch_size=50)
    return seen[steps]


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(x[name], y[name]) for x, y in zip(a, b, strict=True) for name in x)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("how", "first", "good", "message"),
    [
        ("raises", 7, 6, "step 7 (epoch 2, minibatch 3): the matrix is not positive definite"),
        ("loss", 6, 5, "step 6 (epoch 2, minibatch 2): the loss is nan"),
        ("params", 6, 5, "step 7 (epoch 2, minibatch 3): the objective is nan; lower the learning rate"),
        ("params", 8, 7, "step 8 (epoch 2, minibatch 4): the training loss is nan after it"),
        ("params", 1, 0, "step 2 (epoch 1, minibatch 2): the objective is nan; lower the learning rate"),
    ],
)
def test_the_last_good_parameters_are_kept(
    problem: cv.Problem, tmp_path: Path, how: str, first: int, good: int, message: str
) -> None:
    """In the record and in the checkpoint, also where that was written when nobody knew."""
    path = tmp_path / "run"
    record = cv.fit(problem, Failing(how, first), epochs=5, batch_size=50, checkpoint=path, checkpoint_every=1)
    assert record.error == message
    assert record.steps == record.final.step == good
    expected = after(problem, good)
    assert same(record.params, expected)
    assert math.isfinite(record.final.loss)
    saved = cv.load(path)
    assert saved["counters"]["step"] == good
    assert all(np.array_equal(saved["params"][f"{i}.{name}"], expected[i][name]) for i in (0, 1) for name in expected[i])
    assert same(cv.fit(problem, Failing(how, first), epochs=5, batch_size=50).params, expected)


def test_three_rejected_steps_in_a_row_end_the_run(problem: cv.Problem) -> None:
    record = cv.fit(problem, Failing("rejected", 3, 4), epochs=5, batch_size=50)
    assert record.complete
    record = cv.fit(problem, Failing("rejected", 3), epochs=5, batch_size=50)
    assert record.error == "step 5 (epoch 2, minibatch 1): three steps in a row left the numbers; the loss is inf"
    assert same(record.params, after(problem, 2))


def test_they_are_counted_across_an_interruption(problem: cv.Problem, tmp_path: Path) -> None:
    def interrupt(event: Any) -> None:
        if event.step == 4:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"epochs": 5, "batch_size": 50, "checkpoint": tmp_path / "run"}
    assert cv.fit(problem, Failing("rejected", 3), **options, callbacks=[interrupt]).interrupted
    record = cv.fit(problem, Failing("rejected", 3), **options)
    assert record.error is not None
    assert record.error.startswith("step 5 ")


def test_a_run_that_failed_tries_again(problem: cv.Problem, tmp_path: Path) -> None:
    """The failure may have been the machine's."""
    options: dict[str, Any] = {"epochs": 5, "batch_size": 50, "checkpoint": tmp_path / "run"}
    optimizer = Failing("raises", 7)
    first, second = (cv.fit(problem, optimizer, **options) for _ in range(2))
    assert first.error == second.error == "step 7 (epoch 2, minibatch 3): the matrix is not positive definite"
    Failing.step, step = GradientDescent.step, Failing.step  # type: ignore[method-assign]
    try:
        record = cv.fit(problem, optimizer, **options)
    finally:
        Failing.step = step  # type: ignore[method-assign]
    assert record.complete
    assert same(record.params, after(problem, 20))


@pytest.mark.parametrize("lasting", [False, True])
def test_data_that_fails_in_mid_run_keeps_what_was_learnt(problem: cv.Problem, lasting: bool) -> None:
    """An infinite number in the third batch, which was sound when the run began."""
    whole = problem.data.single
    assert whole is not None
    thirds = [(whole.x[i : i + 60], whole.y[i : i + 60]) for i in (0, 60, 120)]
    bad = np.array(thirds[2][0])
    bad[3, 5] = np.inf

    class Decaying:
        broken = False

        def __iter__(self) -> Iterator[Any]:
            yield from thirds[:2]
            broken, self.broken = self.broken, self.broken and lasting
            yield (bad, thirds[2][1]) if broken else thirds[2]

    data = Decaying()

    def break_it(event: Any) -> None:
        data.broken = event.step == 5

    record = cv.fit(problem.at(data=data), GradientDescent(0.1), epochs=3, callbacks=[break_it])
    assert record.error == "step 6 (epoch 2, minibatch 3): batch 2: x of example 3 is NaN or infinite (1 such examples)"
    # Where nothing can be evaluated any more, the step before is where the numbers were last seen to be good.
    assert record.steps == (4 if lasting else 5)
    assert math.isnan(record.final.loss) == lasting
