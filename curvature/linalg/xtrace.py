"""XTrace, and its like for the Frobenius norm: every probe serves the sketch and, left out of it, the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .hutchinson import root
from .jackknife import dependent_mean, leave_out
from .leave_one_out import Sketch
from .map import Counted

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class XTrace(Sketch):
    """tr A as the mean over i of tr Q_(i)ᵀ A Q_(i) + c_i u_iᵀ A u_i (Epperly, Tropp and Webber 2024).

    Q_(i) is a basis of A Ω without its column i, u_i = (I - Q_(i) Q_(i)ᵀ) ω_i and c_i = (n - m + 1) / ‖u_i‖²: the
    directions of the u_i are uniform in what Q_(i) leaves, so their lengths are replaced by the expected one. All of it
    from A Ω = Q R and A Q. For the standard error see ``jackknife``.
    """

    method, start, cost = "xtrace", 16, 2

    def __init__(self, a: Counted, rng: Rng) -> None:
        super().__init__(a, rng, probes="sphere")

    def result(self) -> tuple[float, float]:
        omega, q, z = self.columns()
        r, s = self.products()
        w, h, t = self.on_host(q, omega), self.on_host(q, z), self.on_host(z, omega)
        # uᵀAu with u = ω - Q x, as ωᵀAω = wᵀr, xᵀQᵀAω = xᵀr and ωᵀAQx = tᵀx.
        return dependent_mean(*leave_out(np.sum(w * r, axis=0), r + t, h, w, s, self.length))


class XNorm(Sketch):
    """‖A‖_F² as the mean over i of ‖A Q_(i)‖_F² + c_i ‖A u_i‖², by the construction of XTrace; its root is the result.

    Q_(i) is a basis, without its column i, of A Ω if A is symmetric, which leaves two products for each probe; otherwise of
    AᵀA Ω, at three. Uniformity of the directions makes the squares unbiased, not their root.
    """

    method, start = "xtrace", 16

    def __init__(self, a: Counted, rng: Rng) -> None:
        super().__init__(a, rng, probes="sphere")
        self.cost = 2 if a.symmetric else 3
        self._direct: tuple[Array, ...] = ()  # A Ω, of a map that is not symmetric
        self._last: Array = None

    def _sketched(self, omega: Array) -> Array:
        self._last = self._a._matmat(omega)
        return self._last if self._a.symmetric else self._a.transposed(self._last)

    def grow(self, count: int) -> None:
        super().grow(count)
        if not self._a.symmetric:
            self._direct = (*self._direct, self._last)

    def result(self) -> tuple[float, float]:
        omega, q, z = self.columns()
        r, s = self.products()
        w, h = self.on_host(q, omega), self.on_host(z, z)
        if self._a.symmetric:
            crossed, lengths = self.on_host(z, q) @ r, np.sum(r * r, axis=0)
        else:
            image = self._a.backend.xp.concat(list(self._direct), axis=1)
            crossed, lengths = self.on_host(z, image), np.diagonal(self.on_host(image, image))
        return root(*dependent_mean(*leave_out(lengths, 2 * crossed, h, w, s, self.length)))
