"""Quadratic forms of vectors in a matrix that turns out to be made of these very vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Backend, Rng

Array = Any

_STREAM = [0x6F776E, 0x666F726D73]
"""Seed of the random vectors."""

_ROUNDING = 16.0
"""Times eps · √size: the part of a product that may be left unexplained."""


def quadratic_forms(
    backend: Backend, x: Array, matrix: Array, products: Callable[[], Array], weights: Array | None = None
) -> Array:
    """x_iᵀ M x_i of the rows of x (n, d), (n,).

    The factors of K-FAC are c Σ_i w_i x_i x_iᵀ + s I of the vectors that they are compared with. Then
    x_iᵀ M x_i = c Σ_j w_j (x_i · x_j)² + s ‖x_i‖² from ``products``, of which a certificate takes the same (n, n). Whether they
    are is told by products with two random vectors, at n · d operations: E ‖E v‖² = ‖E‖² for what is left unexplained.

    Args:
        products: gives x xᵀ.
        weights: w (n,), up to a common factor; None where they are equal.
    """
    xp, (n, d) = backend.xp, (int(length) for length in x.shape)
    found = _coefficients(backend, x, matrix, weights) if n < d else None
    if found is None:
        return xp.sum((x @ matrix) * x, axis=1)
    (c, s), pairs = found, products()
    squares = pairs * pairs
    forms = xp.sum(squares, axis=1) if weights is None else squares @ weights
    return c * forms + s * xp.linalg.diagonal(pairs)


def _coefficients(backend: Backend, x: Array, matrix: Array, weights: Array | None) -> tuple[float, float] | None:
    """(c, s) with M = c xᵀ diag(w) x + s I to rounding, or None."""
    xp, size = backend.xp, max(int(length) for length in x.shape)
    if backend.is_abstract(matrix) or backend.is_abstract(x):
        return None
    # Of a stream of its own: a matrix that was made with other draws may be right along these and nowhere else.
    v = Rng(backend, np.random.SeedSequence(_STREAM)).normal((int(x.shape[1]), 2), dtype=x.dtype)
    along = x @ v
    made, wanted = xp.matrix_transpose(x) @ (along if weights is None else along * weights[:, None]), matrix @ v

    def dot(a: Array, b: Array) -> float:
        return float(xp.sum(a * b))

    mm, mv, vv = dot(made, made), dot(made, v), dot(v, v)
    determinant = mm * vv - mv * mv
    if not determinant > 1e-3 * mm * vv:  # x xᵀ is like the identity itself, or zero
        return None
    wm, wv = dot(wanted, made), dot(wanted, v)
    c, s = (wm * vv - wv * mv) / determinant, (wv * mm - wm * mv) / determinant
    rest = wanted - c * made - s * v
    rounding = _ROUNDING * float(xp.finfo(x.dtype).eps) * size**0.5
    return (c, s) if dot(rest, rest) <= rounding**2 * dot(wanted, wanted) else None
