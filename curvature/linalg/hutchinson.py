"""Hutchinson's estimators: the mean of independent samples, one for each probe."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .map import Counted
from .orthonormal import host
from .samples import mean_and_error

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any

UNLIMITED = 2**62


class Hutchinson:
    """tr A = E zᵀAz, z of random signs (Hutchinson 1989)."""

    method, start, cost, limit = "hutchinson", 16, 1, UNLIMITED

    def __init__(self, a: Counted, rng: Rng) -> None:
        self._a, self._rng = a, rng
        self._samples: Any = np.zeros(0)

    @property
    def probes(self) -> int:
        return len(self._samples)

    def grow(self, count: int) -> None:
        z = self._rng.rademacher((self._a.shape[1], count), dtype=self._a.dtype)
        self._samples = np.concatenate([self._samples, self._sample(z, self._a._matmat(z))])

    def _sample(self, z: Array, image: Array) -> Any:
        return host(self._a.backend, self._a.backend.xp.sum(z * image, axis=0))

    def result(self) -> tuple[float, float]:
        return mean_and_error(self._samples)


class SquaredNorm(Hutchinson):
    """‖A‖_F = (E ‖Az‖²)^½, z of random signs; the error of the root is that of the mean to first order."""

    def _sample(self, z: Array, image: Array) -> Any:
        return host(self._a.backend, self._a.backend.xp.sum(image * image, axis=0))

    def result(self) -> tuple[float, float]:
        return root(*super().result())


def root(square: float, error: float) -> tuple[float, float]:
    """(value, standard error) of the square root of an estimate that is not negative."""
    value = math.sqrt(max(square, 0.0))
    if value == 0.0:
        return 0.0, math.sqrt(error)
    return value, error / (2.0 * value)


class DiagonalMean:
    """diag A = E z ∘ Az, z of random signs (Bekas, Kokiopoulou and Saad 2007). Entry i has the variance Σ_{j≠i} A_ij²
    (of a symmetric map) divided by the number of probes.
    """

    method, start, cost, limit = "hutchinson", 16, 1, UNLIMITED

    def __init__(self, a: Counted, rng: Rng) -> None:
        xp = a.backend.xp
        self._a, self._rng = a, rng
        zero = xp.zeros((a.shape[1],), dtype=a.dtype, device=a.backend.device)
        self._state: tuple[int, Array, Array] = (0, zero, zero)

    @property
    def probes(self) -> int:
        return self._state[0]

    def grow(self, count: int) -> None:
        xp = self._a.backend.xp
        seen, mean, scatter = self._state
        z = self._rng.rademacher((self._a.shape[1], count), dtype=self._a.dtype)
        samples = z * self._a._matmat(z)
        # Means and sums of squared deviations of two parts put together (Chan, Golub and LeVeque 1979): no cancellation.
        new = xp.mean(samples, axis=1)
        deviation = samples - new[:, None]
        step, total = new - mean, seen + count
        scatter = scatter + xp.sum(deviation * deviation, axis=1) + step * step * (seen * count / total)
        self._state = (total, mean + step * (count / total), scatter)

    def result(self) -> tuple[Array, Array]:
        seen, mean, scatter = self._state
        return mean, self._a.backend.xp.sqrt(scatter / (max(seen - 1, 1) * seen))
