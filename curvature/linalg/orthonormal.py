"""Orthonormal columns, orthogonal to others, that keep their orthogonality where columns (nearly) depend on each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import Columns

if TYPE_CHECKING:
    from ..backend import Backend, Rng

Array = Any

NEGLIGIBLE = 100.0
"""Times the machine epsilon: what is left of a column relative to ``scale`` when it counts as none."""


def host(backend: Backend, array: Array) -> Any:
    """A small array in float64 on the host, where the small dense problems are solved."""
    return np.asarray(backend.to_numpy(array), dtype=np.float64)


def orthonormalised(backend: Backend, v: Array, against: Columns, *, scale: float) -> tuple[Array, Any, Any]:
    """(Q, C, R) with v = against C + Q R and Q (n, k') orthonormal and orthogonal to ``against``, which is orthonormal.

    Block Gram-Schmidt with a second pass (Giraud, Langou, Rozložník and van den Eshof 2005). Directions of size below
    ``NEGLIGIBLE`` · eps · ``scale`` are dropped: k' ≤ K. C (d, K) and R (k', K) are NumPy arrays in float64.
    """
    xp, dtype = backend.xp, v.dtype
    width = int(v.shape[1])
    if width == 0:
        return v, np.zeros((against.width, 0)), np.zeros((0, 0))
    q, coefficients = _without(v, against, backend)
    q, triangle = xp.linalg.qr(q)
    r = host(backend, triangle)
    left, sizes, right = np.linalg.svd(r, full_matrices=False)
    room = int(v.shape[0]) - against.width
    kept = min(int(np.sum(sizes > NEGLIGIBLE * float(xp.finfo(dtype).eps) * scale)), room)
    if kept < width:
        r = sizes[:kept, None] * right[:kept]
        q = q @ backend.asarray(np.ascontiguousarray(left[:, :kept]), dtype=dtype)
    if kept:
        # What was left may have been small: only now is it orthogonal to the last digit.
        q, again = _without(q, against, backend)
        q, triangle = xp.linalg.qr(q)
        coefficients = coefficients + again @ r
        last = host(backend, triangle)
        left, sizes, right = np.linalg.svd(last)
        # A direction that has lost half of its length once more was nothing but rounding.
        sound = int(np.sum(sizes > 0.5))
        if sound < kept:
            q = q @ backend.asarray(np.ascontiguousarray(left[:, :sound]), dtype=dtype)
            last = sizes[:sound, None] * right[:sound]
        r = last @ r
    return q, coefficients, r


def fresh_directions(backend: Backend, rng: Rng, n: int, width: int, against: Columns, dtype: Any) -> Array:
    """Random orthonormal columns (n, width) orthogonal to ``against``; fewer where n has no room."""
    width = min(width, n - against.width)
    return orthonormalised(backend, rng.normal((n, max(width, 0)), dtype=dtype), against, scale=1.0)[0]


def _without(v: Array, against: Columns, backend: Backend) -> tuple[Array, Any]:
    if against.width == 0:
        return v, np.zeros((0, int(v.shape[1])))
    rest, pieces = against.without(v)
    return rest, np.concatenate([host(backend, piece) for piece in pieces])
