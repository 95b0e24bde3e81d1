"""A random sketch of a map, and what it would be without each one of its probes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .columns import Columns
from .map import Counted
from .orthonormal import fresh_directions, host, orthonormalised

Array = Any

STORED_BYTES = 2**32
"""Memory that the columns of one sketch may take."""


@dataclass(frozen=True)
class Parts:
    """What a sketch consists of.

    Attributes:
        probes: Ω (n, m).
        basis: Q (n, m), orthonormal.
        images: Z (·, m), products with Q.
        triangle: R (m, m) on the host: the sketch of Ω is Q R.
    """

    probes: Columns
    basis: Columns
    images: Columns
    triangle: Any


class Sketch:
    """Probes Ω, their products Y = A Ω = Q R, and Z = A Q: two products for each probe (Epperly, Tropp, Webber 2024).

    Leaving probe i out takes one direction out of the range: Q_(i) Q_(i)ᵀ = Q (I - s_i s_iᵀ) Qᵀ with s_i the normalised
    column i of R⁻ᵀ. Then ω_i is independent of Q_(i), and no product is needed for that.

    Args:
        a: the map.
        rng: where the probes come from.
        probes: "sphere" (of radius √n), or "signs".
    """

    def __init__(self, a: Counted, rng: Any, *, probes: Literal["sphere", "signs"]) -> None:
        self._a, self._rng, self._kind = a, rng, probes
        self.length = a.shape[1]
        empty = Columns(a.backend.xp)
        self._parts = Parts(empty, empty, empty, np.zeros((0, 0)))

    def _sketched(self, omega: Array) -> Array:
        """Y of probes; (n, K)."""
        return self._a._matmat(omega)

    def _image(self, q: Array) -> Array:
        """Z of columns of the basis."""
        return self._a._matmat(q)

    @property
    def probes(self) -> int:
        """m."""
        return self._parts.probes.width

    @property
    def limit(self) -> int:
        """The largest m that fits ``STORED_BYTES``."""
        itemsize = 4 if self._a.backend.xp.finfo(self._a.dtype).bits == 32 else 8
        return max(2, STORED_BYTES // (3 * itemsize * max(1, *self._a.shape)))

    def grow(self, count: int) -> None:
        """``count`` probes more. An interruption leaves the sketch as it was."""
        xp, backend, parts = self._a.backend.xp, self._a.backend, self._parts
        omega = self._draw(count)
        y = self._sketched(omega)
        scale = float(xp.max(xp.sqrt(xp.sum(y * y, axis=0))))
        q, above, r = orthonormalised(backend, y, parts.basis, scale=scale)
        missing = count - int(q.shape[1])
        if missing:
            # The range is exhausted: any direction will do, and Q stays orthonormal.
            more = fresh_directions(backend, self._rng, int(q.shape[0]), missing, parts.basis.with_columns(q), q.dtype)
            q, r = xp.concat([q, more], axis=1), np.concatenate([r, np.zeros((missing, count))])
        triangle = np.block([[parts.triangle, above], [np.zeros((count, parts.triangle.shape[1])), r]])
        images = parts.images.with_columns(self._image(q))
        self._parts = Parts(parts.probes.with_columns(omega), parts.basis.with_columns(q), images, triangle)

    def _draw(self, count: int) -> Array:
        # As rows: a probe then lies in one piece of memory.
        xp, shape = self._a.backend.xp, (count, self.length)
        if self._kind == "signs":
            return xp.matrix_transpose(self._rng.rademacher(shape, dtype=self._a.dtype))
        omega = self._rng.normal(shape, dtype=self._a.dtype)
        return xp.matrix_transpose(omega * (self.length**0.5 / xp.sqrt(xp.sum(omega * omega, axis=1)))[:, None])

    def columns(self) -> tuple[Array, Array, Array]:
        """Ω, Q and Z as arrays."""
        xp = self._a.backend.xp
        omega, q, z = (xp.matrix_transpose(rows) for rows in self.rows())
        return omega, q, z

    def rows(self) -> tuple[Array, Array, Array]:
        """Ωᵀ, Qᵀ and Zᵀ as arrays."""
        return self._parts.probes.rows(), self._parts.basis.rows(), self._parts.images.rows()

    def products(self) -> tuple[Any, Any]:
        """(R, S) on the host, the columns of S being the directions s_i."""
        triangle = self._parts.triangle
        left, sizes, right = np.linalg.svd(triangle)
        floor = float(np.finfo(np.float64).eps) * sizes[0] if sizes[0] > 0 else 1.0
        inverse = (left / np.maximum(sizes, floor)) @ right
        return triangle, inverse / np.linalg.norm(inverse, axis=0)

    def on_host(self, left: Array, right: Array) -> Any:
        """leftᵀ right, small, on the host."""
        return host(self._a.backend, self._a.backend.xp.matrix_transpose(left) @ right)
