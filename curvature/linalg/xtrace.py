"""XTrace, and its like for the Frobenius norm: every probe serves the sketch and, left out of it, the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .hutchinson import root
from .leave_one_out import Sketch, mean_and_error
from .map import Counted

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class XTrace(Sketch):
    """tr A as the mean over i of tr Q_(i)ᵀ A Q_(i) + c_i u_iᵀ A u_i (Epperly, Tropp and Webber 2024).

    Q_(i) is a basis of A Ω without its column i, u_i = (I - Q_(i) Q_(i)ᵀ) ω_i and c_i = (n - m + 1) / ‖u_i‖²: the
    directions of the u_i are uniform in what Q_(i) leaves, so their lengths are replaced by the expected one. All of it
    from A Ω = Q R and A Q. The standard error is that of the m values as if they were independent.
    """

    method, start, cost = "xtrace", 16, 2

    def __init__(self, a: Counted, rng: Rng) -> None:
        super().__init__(a, rng, probes="sphere")

    def result(self) -> tuple[float, float]:
        omega, q, z = self.columns()
        r, s = self.products()
        w, h, t = self.on_host(q, omega), self.on_host(q, z), self.on_host(z, omega)
        x, factor = left_out(w, s, self.length)
        outside = np.sum(w * r, axis=0) - np.sum(t * x, axis=0) - np.sum(x * r, axis=0) + np.sum(x * (h @ x), axis=0)
        return mean_and_error(np.trace(h) - np.sum(s * (h @ s), axis=0) + factor * outside)


class XNorm(Sketch):
    """‖A‖_F² as the mean over i of ‖A Q_(i)‖_F² + c_i ‖A u_i‖², by the construction of XTrace; its root is the result.

    Q_(i) is a basis of Aᵀ Ω without its column i. Of a symmetric map A Ω is Aᵀ Ω and each probe costs two products; of
    another one it costs three. Uniformity of the directions makes the squares unbiased, not their root.
    """

    method, start = "xtrace", 16

    def __init__(self, a: Counted, rng: Rng) -> None:
        super().__init__(a, rng, probes="sphere", first="transpose")
        self.cost = 2 if a.symmetric else 3
        self._direct: tuple[Array, ...] = ()

    def grow(self, count: int) -> None:
        if self._a.symmetric:
            super().grow(count)
            return
        before = self._parts
        super().grow(count)
        try:
            omega = self._parts.probes.all()[:, before.probes.width :]
            self._direct = (*self._direct, self._a._matmat(omega))
        except BaseException:
            self._parts = before
            raise

    def result(self) -> tuple[float, float]:
        xp = self._a.backend.xp
        omega, q, z = self.columns()
        r, s = self.products()
        w, h = self.on_host(q, omega), self.on_host(z, z)
        x, factor = left_out(w, s, self.length)
        if self._a.symmetric:
            crossed, lengths = self.on_host(z, q) @ r, np.sum(r * r, axis=0)
        else:
            image = xp.concat(list(self._direct), axis=1)
            crossed, lengths = self.on_host(z, image), np.diagonal(self.on_host(image, image))
        outside = lengths - 2 * np.sum(x * crossed, axis=0) + np.sum(x * (h @ x), axis=0)
        square, error = mean_and_error(np.trace(h) - np.sum(s * (h @ s), axis=0) + factor * outside)
        return root(square, error)


def left_out(w: Any, s: Any, n: int) -> tuple[Any, Any]:
    """(x, c) for w = Qᵀ ω: u_i = ω_i - Q x_i with x_i = w_i - s_i s_iᵀ w_i, and c_i = (n - m + 1) / ‖u_i‖²."""
    x = w - s * np.sum(s * w, axis=0)
    left = np.maximum(n - np.sum(x * x, axis=0), np.finfo(np.float64).tiny)
    return x, (n - w.shape[0] + 1) / left
