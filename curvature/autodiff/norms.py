"""Norms of vectors and matrices, and the rank."""

from __future__ import annotations

import math
from typing import Any

from .reductions import reduced_axes, root_of_squares
from .spectral import svdvals

Array = Any


def vector_norm(op: Any, x: Array, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Array:
    """(Σ |x|^p)^(1/p), the largest or smallest |x| for p = ±∞, the count of what is not zero for p = 0.

    At the zero vector the derivative for 0 < p < ∞ is taken as zero.
    """
    axes = reduced_axes(axis, len(x.shape))
    reduce: dict[str, Any] = {"axis": axes, "keepdims": keepdims}
    if ord == math.inf:
        return op.ns.max(op.abs(x), **reduce)
    if ord == -math.inf:
        return op.ns.min(op.abs(x), **reduce)
    if ord == 1:
        return op.ns.sum(op.abs(x), **reduce)
    if ord == 0:
        return op.ns.sum(op.ns.astype(op.not_equal(x, 0), x.dtype), **reduce)
    if ord == 2:
        return root_of_squares(op, op.ns.sum(op.multiply(x, x), **reduce))
    total = op.ns.sum(op.pow(op.abs(x), ord), **reduce)
    if ord < 0:
        return op.pow(total, 1.0 / ord)
    zero = op.equal(total, 0)
    return op.where(zero, total, op.pow(op.where(zero, 1.0, total), 1.0 / ord))


def matrix_norm(op: Any, x: Array, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    """The norm of the last two axes.

    'fro' Frobenius, 'nuc' the sum, 2 the largest and -2 the smallest of the singular values; 1 and ∞ the largest (-1 and
    -∞ the smallest) sum of |x| over a column or row. Where several are largest they share the derivative equally.
    """
    if ord in ("fro", None):
        return vector_norm(op, x, axis=(-2, -1), keepdims=keepdims)
    if ord in (1, -1, math.inf, -math.inf):
        sums = op.ns.sum(op.abs(x), axis=-2 if abs(ord) == 1 else -1)
    elif ord in ("nuc", 2, -2):
        sums = svdvals(op, x)
    else:
        raise ValueError(f"linalg.matrix_norm has the orders 'fro', 'nuc', 1, -1, 2, -2, inf and -inf, not {ord!r}")
    reduce = op.ns.sum if ord == "nuc" else op.ns.max if ord > 0 else op.ns.min
    norm = reduce(sums, axis=-1)
    return op.reshape(norm, shape=(*norm.shape, 1, 1)) if keepdims else norm


def matrix_rank(op: Any, x: Array, /, *, rtol: Any = None) -> Array:
    """The number of singular values above rtol times the largest; locally constant."""
    keywords = {} if rtol is None else {"rtol": op.strip(rtol)}
    return op.constant(op.xp.linalg.matrix_rank(op.strip(x), **keywords), x)


FUNCTIONS = {f.__name__: f for f in (vector_norm, matrix_norm, matrix_rank)}
