"""The backends that the core's tests run on, one thread each: the arrays are tiny, and threads would only wait."""

from __future__ import annotations

import os
from collections.abc import Iterator

import array_api_strict
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

import curvature as cv

NAMES = ("numpy", "strict", "torch")

# Compiling is most of what the tests of JAX do, and optimising most of compiling: programs for tiny arrays do without.
# Read when JAX first computes. A later JAX that has lost one of these flags stops at once and names it.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")


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
