"""Small problems on every installed backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

import curvature as cv


def apply(params: Any, x: Any) -> Any:
    xp = cv.namespace(x)
    first, last = params
    return xp.tanh(x @ first["weight"] + first["bias"]) @ last["weight"] + last["bias"]


def digits_problem(backend: cv.Backend, *, examples: int = 200, width: int = 8) -> cv.Problem:
    """A small network on some of the digits, the same on every backend."""
    bunch = load_digits()
    rng = np.random.default_rng(3)
    layers = [(64, width), (width, 10)]
    params = [
        {"weight": backend.asarray(rng.standard_normal(shape) * shape[0] ** -0.5), "bias": backend.asarray(np.zeros(shape[1]))}
        for shape in layers
    ]
    x = backend.asarray(bunch.data[:examples] / 16.0)
    y = backend.asarray(bunch.target[:examples].astype(np.int64))
    return cv.Problem(cv.Model(apply, params), cv.Categorical(), (x, y))


@pytest.fixture
def make_problem() -> Callable[..., cv.Problem]:
    return digits_problem


@pytest.fixture
def problem() -> cv.Problem:
    return digits_problem(cv.backend("numpy"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices as small as these are many times slower on several threads where cores are shared."""
    with threadpool_limits(limits=1):
        yield
