"""Matrices of known spectra, products that are counted, and a small network."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.operators import MatrixFree


def with_spectrum(eigenvalues: Any, seed: int = 0) -> np.ndarray:
    """A symmetric matrix on the host."""
    eigenvalues = np.asarray(eigenvalues, dtype=float)
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((eigenvalues.size, eigenvalues.size)))
    return (q * eigenvalues) @ q.T


class Counted(MatrixFree):
    """A matrix that counts the columns that it is multiplied with."""

    def __init__(self, matrix: np.ndarray, be: cv.Backend, dtype: str = "float64") -> None:
        array = be.asarray(matrix, dtype=dtype)
        super().__init__(lambda v: self._count(array @ v, v), matrix.shape[0], dtype=array.dtype, backend=be)
        self.products = 0

    def _count(self, product: Any, v: Any) -> Any:
        self.products += int(v.shape[1])
        return product


def network(params: Any, x: Any) -> Any:
    xp = cv.namespace(x)
    for index, layer in enumerate(params):
        x = x @ layer["weight"] + layer["bias"]
        if index < len(params) - 1:
            x = xp.tanh(x)
    return x


@pytest.fixture
def problem() -> Callable[..., cv.Problem]:
    def make(be: cv.Backend, n: int = 30, *, regression: bool = False, dtype: str = "float64") -> cv.Problem:
        rng, sizes = np.random.default_rng(3), (5, 6, 3)
        params = [
            {
                "weight": be.asarray(rng.standard_normal((i, o)) / i**0.5, dtype=dtype),
                "bias": be.asarray(0.1 * rng.standard_normal(o), dtype=dtype),
            }
            for i, o in pairwise(sizes)
        ]
        x = be.asarray(rng.standard_normal((n, sizes[0])) * np.geomspace(6, 0.1, sizes[0]), dtype=dtype)
        if regression:
            y = be.asarray(rng.standard_normal((n, sizes[-1])), dtype=dtype)
            return cv.Problem(cv.Model(network, params), cv.Gaussian(), (x, y))
        return cv.Problem(cv.Model(network, params), cv.Categorical(), (x, be.asarray(rng.integers(0, sizes[-1], n))))

    return make
