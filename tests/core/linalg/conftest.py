"""Matrices of known spectra, and operators of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense


@pytest.fixture
def symmetric() -> Callable[..., Any]:
    """A symmetric matrix with the eigenvalues that are given and random eigenvectors."""

    def make(eigenvalues: Any, seed: int = 0) -> Any:
        eigenvalues = np.asarray(eigenvalues, dtype=np.float64)
        normal = np.random.default_rng(seed).standard_normal((len(eigenvalues), len(eigenvalues)))
        basis = np.linalg.qr(normal)[0]
        return (basis * eigenvalues) @ basis.T

    return make


@pytest.fixture
def operator(be: cv.Backend) -> Callable[..., Dense]:
    """An operator on the backend of the test."""

    def make(array: Any, *, dtype: str = "float64", symmetric: bool | None = None) -> Dense:
        return Dense(be.asarray(array, dtype=dtype), backend=be, symmetric=symmetric)

    return make


class Asymmetric:
    """A bare map, no ``Operator``: what the functions need of one and nothing more."""

    def __init__(self, array: Any, *, transposes: bool = True) -> None:
        self.array, self.backend = array, cv.backend("numpy")
        self.shape, self.dtype, self.symmetric = array.shape, array.dtype, False
        self._transposes = transposes

    def _matmat(self, v: Any) -> Any:
        return self.array @ v

    def __getattr__(self, name: str) -> Any:
        if name == "T" and self._transposes:
            return Asymmetric(self.array.T)
        raise AttributeError(name)


@pytest.fixture
def bare() -> type[Asymmetric]:
    return Asymmetric
