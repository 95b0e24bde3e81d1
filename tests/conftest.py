"""The backends that the core's tests run on: NumPy, a bare strict namespace, PyTorch."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

import curvature as cv

NAMES = ("numpy", "strict", "torch")


def make_backend(name: str) -> cv.Backend:
    return cv.ArrayBackend("strict", array_api_strict) if name == "strict" else cv.backend(name)


@pytest.fixture(params=NAMES)
def be(request: pytest.FixtureRequest) -> cv.Backend:
    return make_backend(request.param)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)
