"""The gamma distribution with log shape and log rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..backend import namespace
from .pairs import PairLikelihood, Symmetric, joined, split, targets, times
from .positive import representable, require_positive, within_unit
from .rejection import first_accepted
from .special import digamma, digamma_rest, log_factorial, stirling_rest, trigamma, trigamma_rest

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class Gamma(PairLikelihood):
    """y ~ Gamma(shape k, rate r), of mean k/r: the outputs of a target are a = log k and b = log r, on the last axis.

    Outputs (N, 2) with y (N,), or (N, D, 2) with y (N, D): D independent targets, y > 0. With ψ the digamma function:
    log p = k (b + log y) - log Γ(k) - r y - log y, score (k (b + log y - ψ(k)), k - r y), F = ((k² ψ'(k), -k), (-k, k)).

    The outputs are not the natural parameter (k, -r), so the Hessian ((k² ψ'(k) - k (b + log y - ψ(k)), -k), (-k, r y)) is
    not F, and for many y it is indefinite: such a GGN has no real factor, and what is made from one takes ``cv.Fisher``.

    Whatever the shape, differences of large terms are taken by series, so nothing is lost to rounding for large k.
    Draws below the dtype's smallest number are set to it; that counts for shapes below 0.03 (0.2 in float32).
    Sources: Johnson, Kotz and Balakrishnan (1994), chapter 17; Marsaglia and Tsang (2000) for the draws.

    Raises:
        ModelError: if the outputs are no pairs.
        DataError: if there is not one target for each pair, or one is not positive and finite.
    """

    def check(self, outputs: Array, y: Array) -> Array:
        return require_positive(targets(outputs, y, "Gamma", "log shape and log rate"), "Gamma")

    def log_prob(self, outputs: Array, y: Array) -> Array:
        xp = namespace(outputs)
        a, b = split(outputs)
        log_y, shape = xp.log(y), _Shape(a)
        # For small k, log Γ(k) = log Γ(1 + k) - a. For large k, t = log(r y / k) is small and Stirling's formula leaves
        # k (t - expm1 t) + a/2 - ½ log 2π - rest(k).
        low = shape.low * (b + log_y) - y * xp.exp(b) + a - log_factorial(shape.low)
        t = xp.where(shape.is_low, xp.zeros_like(a), b + log_y - a)
        high = shape.high * (t - xp.expm1(t)) + 0.5 * a - 0.5 * math.log(2 * math.pi) - stirling_rest(shape.high)
        return xp.sum(shape.choose(low, high) - log_y, axis=1)

    def sample(self, rng: Rng, outputs: Array) -> Array:
        xp = namespace(outputs)
        a, b = split(outputs)
        k = xp.exp(a)
        # A draw of shape k + 1 times U^(1/k) has shape k: proposals are accepted for more than 95 % whatever k is.
        d = k + 2.0 / 3.0
        scale = 1.0 / (3.0 * xp.sqrt(d))

        def propose(own: Rng) -> tuple[Array, Array]:
            s = scale * own.normal(tuple(k.shape), dtype=k.dtype)
            uniform = own.uniform(tuple(k.shape), dtype=k.dtype)
            inside = s > -1.0
            s = xp.where(inside, s, xp.zeros_like(s))
            log_root = xp.log1p(s)
            # x²/2 + d - d v + d log v with v = (1 + s)³ and x = s/scale.
            exponent = d * (s * s * (1.5 - s) + 3.0 * (log_root - s))
            return 3.0 * log_root, inside & (uniform < xp.exp(exponent))

        log_v = first_accepted(rng, k, propose, "Gamma", rounds=40)
        power = xp.log(within_unit(rng.uniform(tuple(k.shape), dtype=k.dtype))) * xp.exp(-a)
        return representable(xp.exp(xp.log(d) + log_v + power - b))

    def score(self, outputs: Array, y: Array) -> Array:
        first, second, _ = self._derivatives(outputs, y)
        return joined(first, second)

    def hessian_product(self, outputs: Array, y: Array, v: Array) -> Array:
        first, _, rate_times_y = self._derivatives(outputs, y)
        square, minus_shape, _ = self._fisher(*split(outputs))
        return times((square - first, minus_shape, rate_times_y), v)

    def _derivatives(self, outputs: Array, y: Array) -> tuple[Array, Array, Array]:
        """The score in a and in b, and r y."""
        xp = namespace(outputs)
        a, b = split(outputs)
        k, shape, log_y = xp.exp(a), _Shape(a), xp.log(y)
        # k (b + log y - ψ(k)) with ψ(k) = ψ(1 + k) - 1/k for small k; k t + k (log k - ψ(k)) for large k.
        low = shape.low * (b + log_y - digamma(1.0 + shape.low)) + 1.0
        high = k * (b + log_y - a) + digamma_rest(shape.high)
        rate_times_y = y * xp.exp(b)
        return shape.choose(low, high), k - rate_times_y, rate_times_y

    def _fisher(self, first: Array, second: Array) -> Symmetric:
        k = namespace(first).exp(first)
        return k + self._own_information(first), -k, k

    def _fisher_root(self, first: Array, second: Array) -> tuple[Array, Array, Array, Array]:
        # Along the second axis first: what is left of k² ψ'(k) is k² ψ'(k) - k, which does not cancel.
        xp = namespace(first)
        root = xp.exp(0.5 * first)
        return xp.sqrt(self._own_information(first)), -root, xp.zeros_like(first), root

    def _own_information(self, a: Array) -> Array:
        """k² ψ'(k) - k, what is known of the log shape when the rate is not: between ½ and 1."""
        shape = _Shape(a)
        k = shape.low
        return shape.choose(1.0 - k + k * k * trigamma(1.0 + k), trigamma_rest(shape.high))


class _Shape:
    """k = exp a, split at 10: each branch has an argument at which it is finite, since NaN would pass into gradients.

    Attributes:
        is_low: whether k < 10.
        low: k there, and 1 elsewhere.
        high: k elsewhere, and 10 there.
    """

    def __init__(self, a: Array) -> None:
        xp = namespace(a)
        k = xp.exp(a)
        self.is_low = k < 10.0
        self.low = xp.where(self.is_low, k, xp.ones_like(k))
        self.high = xp.where(self.is_low, xp.full_like(k, 10.0), k)

    def choose(self, low: Array, high: Array) -> Array:
        """Element by element, the branch in which k lies."""
        return namespace(low).where(self.is_low, low, high)
