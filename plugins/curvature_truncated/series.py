"""The terms of a Neumann series: one by one by products, or doubled, where the matrix is small."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import curvature as cv

from .progress import Goal, Progress

Array = Any
Product = Callable[[Array], Array]

MAX_DENSE = 1000
"""Largest matrix that is made dense once the series has taken as many products as that costs."""

FOREVER = 2.0**52


@dataclass(frozen=True)
class Series:
    """x = a Σ_{k<K} (I - a P A)^k P b for the columns of b, and r = b - A x = (I - a A P)^K b.

    Attributes:
        product: V ↦ A V.
        precondition: V ↦ P V; None is the identity.
        scale: a.
        identity: the identity (n, n), asked for where the matrix is made dense.
    """

    xp: Any
    product: Product
    precondition: Product | None
    scale: float
    identity: Callable[[], Array]

    def apply(self, v: Array) -> Array:
        """P V."""
        return v if self.precondition is None else self.precondition(v)

    def terms(self, b: Array, order: int) -> tuple[Array, Array]:
        """x after ``order`` terms, and an earlier r or that one: no longer than b where the series converges."""
        z = self.apply(b)
        x, r, taken = self.scale * z, b, 1
        while taken < order:
            r = r - self.scale * self.product(z)
            z = self.apply(r)
            if self._is_cheaper_dense(b, taken):
                x = x + self._doubled(self.scale * z, order - taken)
                return x, b - self.product(x)
            x, taken = x + self.scale * z, taken + 1
        return x, r

    def until(self, b: Array, weights: Array, goal: Goal, limit: int) -> tuple[Array, Progress]:
        """x after as many terms as reach the goal, or as show that it is out of reach.

        The energy, w_j r_jᵀ P r_j of the slowest column, is Σ_i c_i² ρ_i^2k over the eigenvalues ρ_i of I - a P A: log-convex
        in k.

        Args:
            weights: w (K,).
            limit: most terms taken one by one.
        """
        z, r = self.apply(b), b
        x, now = self.xp.zeros_like(b), Progress(0, self.energy(r, weights, z), 0.0, goal)
        seen = now
        while not now.reached:
            if self._is_cheaper_dense(b, now.terms):
                return self._doubled_until(x, r, z, weights, now)
            if now.terms == limit:
                return x, seen.followed_by(now.terms, now.energy) if now.terms > seen.terms else seen
            x = x + self.scale * z
            r = r - self.scale * self.product(z)
            z, taken = self.apply(r), now.terms + 1
            now = now.followed_by(taken, self.energy(r, weights, z))
            if taken & (taken - 1) == 0:  # a longer stretch gives a better rate
                seen = seen.followed_by(taken, now.energy)
                hopeless = seen.diverges or (seen.foretold > limit and not self._fits_dense(b))
                if taken >= 8 and hopeless and not now.reached:
                    return x, seen
        return x, now

    # With the dense matrix: the series of Newton and Schulz, k steps of which are 2^k terms ---------------

    def _fits_dense(self, b: Array) -> bool:
        return int(b.shape[0]) <= MAX_DENSE

    def _is_cheaper_dense(self, b: Array, taken: int) -> bool:
        """Whether as many products have been taken as make the matrix dense."""
        return self._fits_dense(b) and taken * int(b.shape[1]) >= int(b.shape[0])

    def _contraction(self) -> Array:
        """I - a P A, dense."""
        identity = self.identity()
        return identity - self.scale * self.apply(self.product(identity))

    def _doubled(self, first: Array, order: int) -> Array:
        """Σ_{k<order} R^k first: x_2k = x_k + R^k x_k and x_{k+1} = first + R x_k, along the binary digits of the order."""
        once = power = self._contraction()
        x = first
        for digit in bin(order)[3:]:
            x, power = x + power @ x, power @ power
            if digit == "1":
                x, power = first + once @ x, once @ power
        return x

    def _doubled_until(self, x: Array, r: Array, z: Array, weights: Array, now: Progress) -> tuple[Array, Progress]:
        power = self._contraction()
        part, r = self.scale * z, self.xp.matrix_transpose(power) @ r
        taken, more = now.terms, 1
        while True:
            now = now.followed_by(taken + more, self.energy(r, weights))
            hopeless = now.diverges or now.foretold > FOREVER
            if now.reached or (more >= 8 and hopeless):
                return x + part, now
            part, r = part + power @ part, self.xp.matrix_transpose(power) @ r
            power, more = power @ power, 2 * more

    def energy(self, r: Array, weights: Array, z: Array | None = None) -> float:
        """max_j w_j r_jᵀ P r_j."""
        xp = self.xp
        energy = float(xp.max(weights * xp.sum(r * (self.apply(r) if z is None else z), axis=0)))
        if not math.isfinite(energy):
            raise cv.DataError("a product of the matrix with a vector is NaN or infinite: look at the parameters and data")
        return energy
