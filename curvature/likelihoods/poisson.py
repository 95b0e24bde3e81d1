"""The Poisson distribution with log rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backend import namespace
from ..errors import DataError
from .base import Likelihood, as_outputs, first_offender, holds
from .diagonal import diagonal_factor
from .special import log_factorial

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class Poisson(Likelihood):
    """y ~ Poisson(exp f): outputs are log rates (N, C), y counts of shape (N,) or (N, C). F = exp f."""

    canonical = True

    def check(self, outputs: Array, y: Array) -> Array:
        y = as_outputs(outputs, y, "Poisson")
        xp = namespace(y)
        bad = ~((y >= 0) & (xp.floor(y) == y))
        if holds(bad):
            example = first_offender(bad)
            raise DataError(f"Poisson: example {example} has no counts (whole numbers from 0): {y[example, ...]}")
        return y

    def log_prob(self, outputs: Array, y: Array) -> Array:
        xp = namespace(outputs)
        return xp.sum(y * outputs - xp.exp(outputs) - log_factorial(y), axis=1)

    def sample(self, rng: Rng, outputs: Array) -> Array:
        return rng.poisson(namespace(outputs).exp(outputs), dtype=outputs.dtype)

    def score(self, outputs: Array, y: Array) -> Array:
        return y - namespace(outputs).exp(outputs)

    def hessian_product(self, outputs: Array, y: Array, v: Array) -> Array:
        return self.fisher_product(outputs, v)

    def fisher_product(self, outputs: Array, v: Array) -> Array:
        return namespace(outputs).exp(outputs) * v

    def fisher_factor(self, outputs: Array) -> Array:
        return diagonal_factor(namespace(outputs).exp(0.5 * outputs))
