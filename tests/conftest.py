"""The backends that the core's tests run on, one thread each: the arrays are tiny, and threads would only wait."""

from __future__ import annotations

from collections.abc import Iterator

import array_api_strict
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

import curvature as cv

NAMES = ("numpy", "strict", "torch")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield


def make_backend(name: str) -> cv.Backend:
    return cv.ArrayBackend("strict", array_api_strict) if name == "strict" else cv.backend(name)


@pytest.fixture(params=NAMES)
def be(request: pytest.FixtureRequest) -> cv.Backend:
    return make_backend(request.param)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)
