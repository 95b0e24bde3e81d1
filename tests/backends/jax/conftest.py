"""64-bit types for exact comparisons; what happens without them is tested in processes of their own."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import curvature as cv

jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="session")
def jx() -> cv.Backend:
    return cv.backend("jax")


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)
