"""Softmax regression on the digits: a convex problem, so its optimum is a number that every backend must find."""

from __future__ import annotations

from collections.abc import Callable

import array_api_strict
import numpy as np
import pytest
from sklearn.datasets import load_digits

import curvature as cv

OPTIMUM = 0.26392582329507
L2 = 1e-3


def _torch() -> cv.Backend:
    pytest.importorskip("torch")
    return cv.backend("torch", dtype="float64")


BACKENDS: dict[str, Callable[[], cv.Backend]] = {
    "numpy": lambda: cv.backend("numpy"),
    "torch": _torch,
    "strict": lambda: cv.ArrayBackend("strict", array_api_strict),
}


@pytest.mark.parametrize("name", BACKENDS)
def test_seven_natural_gradient_steps_reach_the_optimum(name: str) -> None:
    backend = BACKENDS[name]()
    bunch = load_digits()
    features = np.concatenate([bunch.data / 16.0, np.ones((len(bunch.data), 1))], axis=1)
    data = (backend.asarray(features), backend.asarray(bunch.target.astype(np.int64)))
    weights = backend.asarray(np.zeros((65, 10)))
    problem = cv.Problem(cv.Model(lambda w, x: x @ w, weights), cv.Categorical(), data)
    # The Fisher information of this model is the Hessian of its loss; an average with earlier ones (decay) would not be.
    optimizer = cv.NaturalGradient("exact", damping=0.0, l2=L2, learning_rate=cv.Backtracking(), decay=0.0)
    state = optimizer.init(problem)
    for _ in range(7):
        weights, state, _ = optimizer.step(weights, state)
    found = backend.to_numpy(weights)
    objective = float(problem.at(weights).loss()) + 0.5 * L2 * float(np.sum(found**2))
    assert objective == pytest.approx(OPTIMUM, rel=0, abs=1e-12)
    # The loss does not see a shift of all logits, so the l2 term makes the columns sum to zero.
    np.testing.assert_allclose(np.sum(found, axis=1), 0.0, atol=1e-10)
