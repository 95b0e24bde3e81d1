"""The Gaussian distribution with known variance."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..backend import namespace
from ..errors import DataError
from .base import Likelihood, as_outputs
from .diagonal import diagonal_factor

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class Gaussian(Likelihood):
    """y ~ N(f, variance · I): outputs are the mean (N, C), y of shape (N,) or (N, C).

    F = I / variance. With variance 1 the loss is half the squared error, plus (C/2) log 2π: -log p is normalised.
    (kfac-jax takes variance 1/2 for squared error.)

    Raises:
        DataError: if the variance is not a positive number.
    """

    canonical = True

    def __init__(self, variance: float = 1.0) -> None:
        given: object = variance
        if not isinstance(given, Real) or not (math.isfinite(variance) and variance > 0):
            raise DataError(f"Gaussian: the variance must be a positive number, got {variance}")
        self.variance = float(variance)

    def __repr__(self) -> str:
        return f"Gaussian(variance={self.variance})"

    def check(self, outputs: Array, y: Array) -> Array:
        return as_outputs(outputs, y, "Gaussian")

    def log_prob(self, outputs: Array, y: Array) -> Array:
        xp = namespace(outputs)
        constant = 0.5 * outputs.shape[1] * math.log(2 * math.pi * self.variance)
        return -xp.sum((outputs - y) ** 2, axis=1) * (0.5 / self.variance) - constant

    def sample(self, rng: Rng, outputs: Array) -> Array:
        return outputs + math.sqrt(self.variance) * rng.normal(tuple(outputs.shape), dtype=outputs.dtype)

    def score(self, outputs: Array, y: Array) -> Array:
        return (y - outputs) * (1.0 / self.variance)

    def hessian_product(self, outputs: Array, y: Array, v: Array) -> Array:
        return self.fisher_product(outputs, v)

    def fisher_product(self, outputs: Array, v: Array) -> Array:
        return v * (1.0 / self.variance)

    def fisher_factor(self, outputs: Array) -> Array:
        xp = namespace(outputs)
        return diagonal_factor(xp.ones_like(outputs) * (1.0 / math.sqrt(self.variance)))
