"""One seed is one trajectory: NumPy and PyTorch agree to rounding, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.training import fit

pytest.importorskip("torch")


def losses(problem: cv.Problem, optimizer: Any, **options: Any) -> list[float]:
    found: list[float] = []
    fit(problem, optimizer, callbacks=[lambda event: found.append(event.loss)], **options)
    return found


def optimizer(approximation: str, fisher: str) -> cv.NaturalGradient:
    every = 5 if approximation == "exact" else 1
    return cv.NaturalGradient(
        approximation,
        fisher=fisher,
        damping=cv.LevenbergMarquardt(0.01),
        learning_rate=cv.QuadraticModel(),
        statistics_every=every,
        refresh_every=every,
        seed=4,
    )


@pytest.mark.parametrize(
    ("approximation", "fisher"), [("diagonal", "exact"), ("kfac", "exact"), ("kfac", "monte-carlo"), ("exact", "exact")]
)
def test_fifty_steps_on_all_examples(make_problem: Callable[..., cv.Problem], approximation: str, fisher: str) -> None:
    found = [
        losses(make_problem(cv.backend(name, dtype="float64")), optimizer(approximation, fisher), epochs=50)
        for name in ("numpy", "torch")
    ]
    assert len(found[0]) == 50
    assert found[0][-1] < 0.05 * found[0][0]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-8)


def test_fifty_steps_on_minibatches(make_problem: Callable[..., cv.Problem]) -> None:
    found = [
        losses(make_problem(cv.backend(name, dtype="float64")), optimizer("kfac", "exact"), epochs=25, batch_size=100, seed=7)
        for name in ("numpy", "torch")
    ]
    assert len(found[0]) == 50
    np.testing.assert_allclose(found[0], found[1], rtol=1e-8)
