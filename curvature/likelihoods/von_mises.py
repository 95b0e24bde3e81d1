"""The von Mises distribution of an angle, with its natural parameter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..backend import namespace
from ..errors import DataError
from .base import first_offender, holds
from .bessel import PlaneVector
from .pairs import PairLikelihood, Symmetric, joined, split, targets
from .rejection import first_accepted

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class VonMises(PairLikelihood):
    """y ~ von Mises(direction μ, concentration κ): the outputs of a target are f = κ (cos μ, sin μ), on the last axis.

    Outputs (N, 2) with y (N,), or (N, D, 2) with y (N, D): D independent angles y in radians, of any turn. f is the natural
    parameter, and everything is smooth at f = 0, the uniform distribution:
    log p = f·u - log 2π I0(κ) with u = (cos y, sin y), score u - A f/κ, F = A' f fᵀ/κ² + (A/κ) (I - f fᵀ/κ²), where
    A = I1(κ)/I0(κ) and A' = 1 - A/κ - A² is its derivative. The Hessian is F. Nothing is lost to rounding for large κ.
    Sources: Mardia and Jupp (2000); Best and Fisher (1979) for the draws, which lie in [-π, π].

    Raises:
        ModelError: if the outputs are no pairs.
        DataError: if there is not one target for each pair, or one is not finite.
    """

    canonical = True

    def check(self, outputs: Array, y: Array) -> Array:
        y = targets(outputs, y, "VonMises", "κ cos μ and κ sin μ")
        bad = ~namespace(y).isfinite(y)
        if holds(bad):
            example = first_offender(bad)
            raise DataError(f"VonMises: an angle of example {example} is not finite: {y[example, ...]}")
        return y

    def log_prob(self, outputs: Array, y: Array) -> Array:
        xp = namespace(outputs)
        f = PlaneVector.of(*split(outputs))
        cosine, sine = xp.cos(y), xp.sin(y)
        near = f.x * cosine + f.y * sine - f.log_i0_near()
        # f·u - κ = -½ κ |u - f/κ|², in which nothing cancels.
        dx, dy = cosine - f.unit_x, sine - f.unit_y
        far = -0.5 * f.length * (dx * dx + dy * dy) - f.log_i0_far()
        return xp.sum(xp.where(f.far, far, near) - math.log(2 * math.pi), axis=1)

    def sample(self, rng: Rng, outputs: Array) -> Array:
        xp = namespace(outputs)
        x, y = split(outputs)
        kappa = xp.hypot(x, y)
        # The proposal is a wrapped Cauchy with tan(θ/2) = √(q/(q + 2κ)) tan(φ/2), φ uniform; q = κ (r - 1) for the r of
        # Best and Fisher, in a form that neither cancels for large κ nor divides by zero.
        q = 0.5 + 0.5 / (xp.hypot(2.0 * kappa, xp.ones_like(kappa)) + 2.0 * kappa)
        narrow = xp.sqrt(q / (q + 2.0 * kappa))

        def propose(own: Rng) -> tuple[Array, Array]:
            turn = own.uniform(tuple(kappa.shape), dtype=kappa.dtype)
            uniform = own.uniform(tuple(kappa.shape), dtype=kappa.dtype)
            half = xp.atan2(narrow * xp.sin(math.pi * (turn - 0.5)), xp.cos(math.pi * (turn - 0.5)))
            sine = xp.sin(half)
            d = q + 2.0 * kappa * sine * sine
            return 2.0 * half, uniform < d * xp.exp(1.0 - d)

        angle = first_accepted(rng, kappa, propose, "VonMises", rounds=120) + xp.atan2(y, x)
        # Back by the turn that rounding the angle in turns to a whole number gives.
        return angle - 2.0 * math.pi * xp.round(angle * (0.5 / math.pi))

    def score(self, outputs: Array, y: Array) -> Array:
        xp = namespace(outputs)
        x, z = PlaneVector.of(*split(outputs)).mean()
        return joined(xp.cos(y) - x, xp.sin(y) - z)

    def hessian_product(self, outputs: Array, y: Array, v: Array) -> Array:
        return self.fisher_product(outputs, v)

    def _fisher(self, first: Array, second: Array) -> Symmetric:
        return PlaneVector.of(first, second).covariance()

    def _fisher_root(self, first: Array, second: Array) -> tuple[Array, Array, Array, Array]:
        xp, f = namespace(first), PlaneVector.of(first, second)
        # Near zero by Cholesky, smooth in f; far away along and across f, whose variances differ by a factor 2κ.
        a, b, c = f.covariance()
        a, b, c = (xp.where(f.far, xp.full_like(a, value), part) for part, value in ((a, 1.0), (b, 0.0), (c, 1.0)))
        root = xp.sqrt(a)
        corner = b / root
        along, across = (xp.sqrt(variance) for variance in f.spreads_far())
        return (
            xp.where(f.far, along * f.unit_x, root),
            xp.where(f.far, -across * f.unit_y, xp.zeros_like(a)),
            xp.where(f.far, along * f.unit_y, corner),
            xp.where(f.far, across * f.unit_x, xp.sqrt(c - corner * corner)),
        )
