"""The exponential distribution with log rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backend import namespace
from .base import Likelihood, as_outputs
from .diagonal import diagonal_factor
from .positive import representable, require_positive, within_unit

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class Exponential(Likelihood):
    """y ~ Exponential(rate exp f), of mean exp(-f): outputs are log rates (N, C), y > 0 of shape (N,) or (N, C).

    log p = f - y exp f, score 1 - y exp f, F = 1. The natural parameter is -exp f, so the Hessian y exp f is not F; it is
    positive. Source: McCullagh and Nelder (1989), gamma errors with log link and dispersion 1.

    Raises:
        DataError: if there is not one target for each output, or one is not positive and finite.
    """

    def check(self, outputs: Array, y: Array) -> Array:
        return require_positive(as_outputs(outputs, y, "Exponential"), "Exponential")

    def log_prob(self, outputs: Array, y: Array) -> Array:
        return namespace(outputs).sum(outputs - _in_rates(outputs, y), axis=1)

    def sample(self, rng: Rng, outputs: Array) -> Array:
        xp = namespace(outputs)
        drawn = within_unit(rng.uniform(tuple(outputs.shape), dtype=outputs.dtype))
        return representable(-xp.log(drawn) * xp.exp(-outputs))

    def score(self, outputs: Array, y: Array) -> Array:
        return 1.0 - _in_rates(outputs, y)

    def hessian_product(self, outputs: Array, y: Array, v: Array) -> Array:
        return _in_rates(outputs, y) * v

    def hessian_factor(self, outputs: Array, y: Array) -> Array:
        return diagonal_factor(namespace(outputs).sqrt(_in_rates(outputs, y)))

    def fisher_product(self, outputs: Array, v: Array) -> Array:
        return v

    def fisher_factor(self, outputs: Array) -> Array:
        return diagonal_factor(namespace(outputs).ones_like(outputs))


def _in_rates(outputs: Array, y: Array) -> Array:
    """y exp f, where neither factor need be representable."""
    xp = namespace(outputs)
    return xp.exp(outputs + xp.log(y))
