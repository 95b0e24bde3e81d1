"""Hutch++: the trace on a sketch of the range exactly, and what is left of it by Hutchinson's estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import Columns
from .hutchinson import UNLIMITED
from .leave_one_out import STORED_BYTES
from .map import Counted
from .orthonormal import host, orthonormalised
from .samples import mean_and_error

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


class HutchPlusPlus:
    """tr A = tr QᵀAQ + E gᵀ(I - QQᵀ) A (I - QQᵀ) g with Q a basis of A S (Meyer, Musco, Musco and Woodruff 2021).

    S and g are of random signs. A g is kept rather than A (I - QQᵀ) g, so that g serves each Q that follows: with Z = A Q
    the sample is (g - Q Qᵀg)ᵀ (A g - Z Qᵀg). The standard error is that of the second term.
    """

    method, start, cost = "hutch++", 12, 3

    def __init__(self, a: Counted, rng: Rng) -> None:
        self._a, self._rng = a, rng
        empty = Columns(a.backend.xp)
        self._state: tuple[Columns, Columns, Columns, Columns] = (empty, empty, empty, empty)
        itemsize = 4 if a.backend.xp.finfo(a.dtype).bits == 32 else 8
        self.limit = min(UNLIMITED, STORED_BYTES // (4 * itemsize * max(1, a.shape[1])))

    @property
    def probes(self) -> int:
        return self._state[2].width

    def grow(self, count: int) -> None:
        a, n = self._a, self._a.shape[1]
        xp = a.backend.xp
        basis, images, signs, products = self._state
        sketch = a._matmat(self._rng.rademacher((n, count), dtype=a.dtype))
        scale = float(xp.max(xp.sqrt(xp.sum(sketch * sketch, axis=0))))
        q, _, _ = orthonormalised(a.backend, sketch, basis, scale=scale)
        if q.shape[1]:
            basis, images = basis.with_columns(q), images.with_columns(a._matmat(q))
        g = self._rng.rademacher((n, count), dtype=a.dtype)
        self._state = (basis, images, signs.with_columns(g), products.with_columns(a._matmat(g)))

    def result(self) -> tuple[float, float]:
        xp, backend = self._a.backend.xp, self._a.backend
        basis, images, signs, products = self._state
        g, image = signs.all(), products.all()
        exact = 0.0
        if basis.width:
            q, z = basis.all(), images.all()
            exact = float(np.sum(host(backend, xp.sum(q * z, axis=0))))
            inside = xp.matrix_transpose(q) @ g
            g, image = g - q @ inside, image - z @ inside
        mean, error = mean_and_error(host(backend, xp.sum(g * image, axis=0)))
        return exact + mean, error
