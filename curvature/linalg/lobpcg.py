"""The locally optimal block preconditioned conjugate gradient method for eigenpairs, here without a preconditioner."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import Columns
from .map import Counted
from .orthonormal import fresh_directions, host, orthonormalised
from .wanted import Found, wanted

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


def lobpcg(a: Counted, k: int, which: str, tolerance: float, limit: int, rng: Rng) -> Iterator[Found]:
    """The states of the iteration, the last of them ``done`` unless ``limit`` products did not do (Knyazev 2001).

    Each step takes the best m ≥ k + 2 vectors in the span of the last ones X, their residuals and their last change P.
    The bases are kept orthonormal (Hetmaniuk and Lehoucq 2006): P is what of the new X came from outside of the old one.
    """
    xp, backend, n = a.backend.xp, a.backend, a.shape[0]
    m = min(k + max(2, k // 4), n // 3)
    space = fresh_directions(backend, rng, n, m, Columns(xp), a.dtype)
    images, scale = a._matmat(space), 0.0
    while True:
        # space = [X, P, R] and images = A · space, orthonormal; m of it are the next X.
        projected = host(backend, xp.matrix_transpose(space) @ images)
        values, vectors = np.linalg.eigh((projected + projected.T) / 2)
        order, scale = wanted(values, which)[:m], max(scale, float(np.max(np.abs(values))))
        values, new = values[order], vectors[:, order]
        change = _outside(new, m)
        x, ax = _combine(a, space, new), _combine(a, images, new)
        residual = ax - x * backend.asarray(np.ascontiguousarray(values), dtype=a.dtype)[None, :]
        norms = host(backend, xp.sqrt(xp.sum(residual * residual, axis=0)))
        done = bool(np.all(norms[:k] <= tolerance * scale))
        yield Found(values[:k], norms[:k], scale, partial(_first, x, k), done)
        if done:
            return
        p, ap = _combine(a, space, change), _combine(a, images, change)
        kept = xp.concat([x, p], axis=1)
        open_columns = backend.asarray(np.flatnonzero(norms > tolerance * scale).astype(np.int32))
        residual = xp.take(residual, open_columns, axis=1)
        r, _, _ = orthonormalised(backend, residual, Columns(xp, kept), scale=float(np.max(norms)))
        if a.products + int(r.shape[1]) > limit:
            return
        if r.shape[1]:
            ar = a._matmat(r)
            space, images = xp.concat([kept, r], axis=1), xp.concat([ax, ap, ar], axis=1)
        else:
            space, images = kept, xp.concat([ax, ap], axis=1)


def _outside(new: Any, m: int) -> Any:
    """Orthonormal coefficients, orthogonal to ``new``, that span with it the part of ``new`` outside of the first m rows."""
    outside = np.concatenate([np.zeros((min(m, len(new)), new.shape[1])), new[m:]])
    outside = outside - new @ (new.T @ outside)
    left, sizes, _ = np.linalg.svd(outside, full_matrices=False)
    left = left[:, sizes > 1e-10]
    return np.linalg.qr(left - new @ (new.T @ left))[0]


def _combine(a: Counted, columns: Array, coefficients: Any) -> Array:
    return columns @ a.backend.asarray(np.ascontiguousarray(coefficients), dtype=a.dtype)


def _first(columns: Array, k: int) -> Array:
    return columns[:, :k]
