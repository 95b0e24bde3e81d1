"""The Gaussian distribution whose mean and variance are both outputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..backend import namespace
from .pairs import PairLikelihood, Symmetric, joined, split, targets, times

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class HeteroscedasticGaussian(PairLikelihood):
    """y ~ N(μ, v): the outputs of a target are its mean μ and its log variance log v, on the last axis.

    Outputs (N, 2) with y (N,), or (N, D, 2) with y (N, D): D independent targets. With r = (y - μ)/√v:
    log p = -½ (r² + log v + log 2π), score (r/√v, ½ (r² - 1)), F = diag(1/v, ½).

    The outputs are not the natural parameter (μ/v, -1/(2v)), so the Hessian ((1/v, r/√v), (r/√v, r²/2)) is not F. It has
    determinant -r²/(2v) and is indefinite wherever y ≠ μ: a GGN can be multiplied with but has no real factor, and what is made
    from one (K-FAC, …) takes ``cv.Fisher``. Source: Nix and Weigend (1994); Fisher information: Rao (1945).

    Raises:
        ModelError: if the outputs are no pairs.
        DataError: if there is not one target for each pair.
    """

    def check(self, outputs: Array, y: Array) -> Array:
        return targets(outputs, y, "HeteroscedasticGaussian", "mean and log variance")

    def log_prob(self, outputs: Array, y: Array) -> Array:
        xp = namespace(outputs)
        mean, log_variance = split(outputs)
        r = (y - mean) * xp.exp(-0.5 * log_variance)
        return -0.5 * xp.sum(r * r + log_variance + math.log(2 * math.pi), axis=1)

    def sample(self, rng: Rng, outputs: Array) -> Array:
        mean, log_variance = split(outputs)
        return mean + namespace(outputs).exp(0.5 * log_variance) * rng.normal(tuple(mean.shape), dtype=outputs.dtype)

    def score(self, outputs: Array, y: Array) -> Array:
        r, precision_root = self._standardised(outputs, y)
        return joined(r * precision_root, 0.5 * (r * r - 1.0))

    def hessian_product(self, outputs: Array, y: Array, v: Array) -> Array:
        r, precision_root = self._standardised(outputs, y)
        return times((precision_root * precision_root, r * precision_root, 0.5 * r * r), v)

    def _standardised(self, outputs: Array, y: Array) -> tuple[Array, Array]:
        """r = (y - μ)/√v and 1/√v."""
        mean, log_variance = split(outputs)
        precision_root = namespace(outputs).exp(-0.5 * log_variance)
        return (y - mean) * precision_root, precision_root

    def _fisher(self, first: Array, second: Array) -> Symmetric:
        xp = namespace(second)
        return xp.exp(-second), xp.zeros_like(second), 0.5 * xp.ones_like(second)

    def _fisher_root(self, first: Array, second: Array) -> tuple[Array, Array, Array, Array]:
        xp = namespace(second)
        zero = xp.zeros_like(second)
        return xp.exp(-0.5 * second), zero, zero, xp.ones_like(second) * math.sqrt(0.5)
