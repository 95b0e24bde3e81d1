"""Small problems that the tests of the optimisers share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import curvature as cv


def tanh_network(p: Any, x: Any) -> Any:
    return cv.namespace(x).tanh(x @ p["u"] + p["c"]) @ p["w"] + p["b"]


def network(be: Any, rng: Any, likelihood: Any, n: int = 30, outputs: int = 3) -> cv.Problem:
    params = {
        "u": rng.standard_normal((4, 5)),
        "c": np.zeros(5),
        "w": rng.standard_normal((5, outputs)),
        "b": np.zeros(outputs),
    }
    x = rng.standard_normal((n, 4))
    scores = x @ rng.standard_normal((4, outputs))
    y = np.argmax(scores, axis=1) if isinstance(likelihood, cv.Categorical) else np.sin(scores)
    model = cv.Model(tanh_network, {name: be.asarray(value) for name, value in params.items()})
    return cv.Problem(model, likelihood, (be.asarray(x), be.asarray(y)))


@pytest.fixture
def classification(be: Any, generator: Any) -> cv.Problem:
    return network(be, generator, cv.Categorical())


@pytest.fixture
def regression(be: Any, generator: Any) -> cv.Problem:
    return network(be, generator, cv.Gaussian(0.5))


def flat(problem: cv.Problem, tree: Any) -> np.ndarray:
    """A params tree as a NumPy vector."""
    return np.asarray(problem.backend.to_numpy(problem.space.ravel(problem.xp, tree)))


def dense(problem: cv.Problem) -> np.ndarray:
    """The Fisher information as a NumPy matrix."""
    return np.asarray(problem.backend.to_numpy(cv.Fisher(problem).to_dense()))


def least_squares(generator, examples=40, inputs=3):
    """Gaussian, linear: the quadratic model is exact."""
    x = generator.standard_normal((examples, inputs))
    y = x @ np.arange(1.0, inputs + 1) + generator.standard_normal(examples)
    model = cv.Model(lambda p, x: (x @ p)[:, None], np.zeros(inputs))
    return cv.Problem(model, cv.Gaussian(), (x, y[:, None]))
