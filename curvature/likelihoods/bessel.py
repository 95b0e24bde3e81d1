"""The modified Bessel functions of the von Mises distribution, as functions of a vector f in the plane with |f| = κ.

Up to κ = 40 they are averages over directions u_j spread evenly on the circle: I0(κ) is the mean of cosh f·u and I1(κ)
along f that of u sinh f·u. The trapezoid rule is exact here but for I_64(κ), which is below 1e-17 of I0(κ) (Trefethen
and Weideman 2014), and it is smooth in f at zero, where κ itself is not. Beyond κ = 40, with w = 1/κ,
log I0 = κ + ½ log(w/2π) + G(w), G the asymptotic series (Abramowitz and Stegun 1964, 9.7.1).
Whichever is not taken is evaluated at a vector at which it is finite: NaN would pass into gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..backend import namespace
from .base import device_of

Array = Any

_FAR = 40.0
_DIRECTIONS = 32
"""On half a circle; cosh and u sinh are the same at the opposite direction."""


def _log_series(terms: int) -> tuple[float, ...]:
    """c_1, …, c_terms of G(w) = log Σ_k a_k w^k with a_k = ((2k - 1)!!)² / (k! 8^k): k c_k = k a_k - Σ_j j c_j a_{k-j}."""
    a = [1.0]
    for k in range(1, terms + 1):
        a.append(a[-1] * (2 * k - 1) ** 2 / (8 * k))
    c = [0.0]
    for k in range(1, terms + 1):
        c.append(a[k] - math.fsum(j * c[j] * a[k - j] for j in range(1, k)) / k)
    return tuple(c[1:])


_G = _log_series(14)
_G_FIRST = tuple(k * c for k, c in enumerate(_G, 1))
_G_SECOND = tuple(k * (k + 1) * c for k, c in enumerate(_G[1:], 1))


def _horner(w: Array, coefficients: tuple[float, ...]) -> Array:
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * w + coefficient
    return total


@dataclass(frozen=True, eq=False)
class _Near:
    """κ ≤ 40: the directions u_j on half a circle, and f·u_j, both with the axis j last."""

    cosines: Array
    sines: Array
    along: Array


@dataclass(frozen=True, eq=False)
class PlaneVector:
    """A field of vectors f = (x, y) with what both regions need of them.

    Attributes:
        x, y: the components, of one shape.
        far: whether |f| > 40.
        length: |f| where it is far, and 80 elsewhere.
        unit_x, unit_y: f/|f| where it is far, and (1, 0) elsewhere.
    """

    x: Array
    y: Array
    far: Array
    length: Array
    unit_x: Array
    unit_y: Array

    @classmethod
    def of(cls, x: Array, y: Array) -> PlaneVector:
        """The vectors with these components."""
        xp = namespace(x)
        far = xp.hypot(x, y) > _FAR
        fx = xp.where(far, x, xp.full_like(x, 2 * _FAR))
        fy = xp.where(far, y, xp.zeros_like(y))
        length = xp.hypot(fx, fy)
        return cls(x, y, far, length, fx / length, fy / length)

    def _near(self) -> _Near:
        xp = namespace(self.x)
        angles = [math.pi * (j + 0.5) / _DIRECTIONS for j in range(_DIRECTIONS)]
        new = {"dtype": self.x.dtype, "device": device_of(self.x)}
        cosines, sines = (xp.asarray([of(angle) for angle in angles], **new) for of in (math.cos, math.sin))
        x, y = (xp.where(self.far, xp.zeros_like(v), v)[..., None] for v in (self.x, self.y))
        return _Near(cosines, sines, x * cosines + y * sines)

    def _choose(self, far: Array, near: Array) -> Array:
        return namespace(self.x).where(self.far, far, near)

    def log_i0_near(self) -> Array:
        """log I0(|f|) where it is near, and 0 elsewhere: log1p of the mean of cosh f·u - 1 = 2 sinh²(½ f·u)."""
        xp = namespace(self.x)
        half = xp.sinh(0.5 * self._near().along)
        return xp.log1p(2.0 * xp.mean(half * half, axis=-1))

    def log_i0_far(self) -> Array:
        """log I0(|f|) - |f|, where it is far."""
        w = 1.0 / self.length
        return 0.5 * namespace(self.x).log(w * (0.5 / math.pi)) + w * _horner(w, _G)

    def log_i0(self) -> Array:
        """log I0(|f|)."""
        return self._choose(self.length + self.log_i0_far(), self.log_i0_near())

    def mean(self) -> tuple[Array, Array]:
        """∂ log I0(|f|)/∂f = (I1/I0)(|f|) f/|f|, the mean direction, by components."""
        xp, near, w = namespace(self.x), self._near(), 1.0 / self.length
        weights, total = xp.sinh(near.along), xp.sum(xp.cosh(near.along), axis=-1)
        ratio = self._ratio_far(w)
        return (
            self._choose(ratio * self.unit_x, xp.sum(near.cosines * weights, axis=-1) / total),
            self._choose(ratio * self.unit_y, xp.sum(near.sines * weights, axis=-1) / total),
        )

    def covariance(self) -> tuple[Array, Array, Array]:
        """(xx, xy, yy) of ∂² log I0(|f|)/∂f∂fᵀ, the covariance of the direction."""
        xp, near = namespace(self.x), self._near()
        weights = xp.cosh(near.along)
        opposite = 1.0 / (weights * weights)
        weights = weights / xp.sum(weights, axis=-1, keepdims=True)
        slope = xp.tanh(near.along)
        # ±u have the mean u tanh f·u and about it the variance u² / cosh² f·u: sums of squares, in which nothing cancels.
        means = [xp.sum(part * slope * weights, axis=-1, keepdims=True) for part in (near.cosines, near.sines)]
        c, s = near.cosines, near.sines
        dx, dy = c * slope - means[0], s * slope - means[1]
        along, across = self.spreads_far()
        a, b = self.unit_x, self.unit_y
        return (
            self._choose(along * a * a + across * b * b, xp.sum((dx * dx + c * c * opposite) * weights, axis=-1)),
            self._choose((along - across) * a * b, xp.sum((dx * dy + c * s * opposite) * weights, axis=-1)),
            self._choose(along * b * b + across * a * a, xp.sum((dy * dy + s * s * opposite) * weights, axis=-1)),
        )

    def spreads_far(self) -> tuple[Array, Array]:
        """Variances of the direction along f, A' = 1 - A/κ - A², and across it, A/κ, where it is far.

        A' is of order 1/(2κ²), so it is taken from the series: the difference would lose 2κ² to rounding.
        """
        w = 1.0 / self.length
        first, second = _horner(w, _G_FIRST), _horner(w, _G_SECOND)
        return w * w * (0.5 + w * (2.0 * first + w * second)), w * self._ratio_far(w)

    def _ratio_far(self, w: Array) -> Array:
        """A = I1/I0 = 1 - w/2 - w² G'(w)."""
        return 1.0 - w * (0.5 + w * _horner(w, _G_FIRST))
