"""The linalg extension, with its products, diagonals and powers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ShapeError
from . import determinants, inverses, norms, spectral, triangular_factors
from .linear_algebra import tensordot, vecdot
from .manipulation import expand_dims, matrix_transpose

Array = Any


def matmul(op: Any, x1: Array, x2: Array, /) -> Array:
    """The product of matrices."""
    return op.matmul(x1, x2)


def diagonal(op: Any, x: Array, /, *, offset: int = 0) -> Array:
    """A diagonal of the last two axes: every (m + 1)-th element of them in row-major order."""
    *lead, n, m = x.shape
    length = max(min(n, m - offset) if offset >= 0 else min(n + offset, m), 0)
    start = offset if offset >= 0 else -offset * m
    flat = op.reshape(x, shape=(*lead, n * m))
    stop = start + (length - 1) * (m + 1) + 1
    return flat[(..., slice(start, stop, m + 1) if length else slice(0, 0))]


def trace(op: Any, x: Array, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """The sum of a diagonal."""
    return op.ns.sum(diagonal(op, x, offset=offset), axis=-1, dtype=dtype)


def outer(op: Any, x1: Array, x2: Array, /) -> Array:
    """x1 x2ᵀ of two vectors."""
    if len(x1.shape) != 1 or len(x2.shape) != 1:
        raise ShapeError(f"linalg.outer is for two vectors, got shapes {tuple(x1.shape)} and {tuple(x2.shape)}")
    return op.multiply(expand_dims(op, x1, axis=1), expand_dims(op, x2, axis=0))


def cross(op: Any, x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """The cross product of vectors of three elements."""
    a, b = op.ns.unstack(x1, axis=axis), op.ns.unstack(x2, axis=axis)
    if len(a) != 3 or len(b) != 3:
        raise ShapeError(f"linalg.cross is for vectors of three elements, got {len(a)} and {len(b)}")
    pairs = ((1, 2), (2, 0), (0, 1))
    parts = [op.subtract(op.multiply(a[i], b[j]), op.multiply(a[j], b[i])) for i, j in pairs]
    return op.ns.stack(parts, axis=axis)


def matrix_power(op: Any, x: Array, n: int, /) -> Array:
    """The n-th power, by squaring."""
    if n == 0:
        eye = op.xp.eye(x.shape[-1], dtype=x.dtype, device=op.device(x))
        return op.constant(op.xp.broadcast_to(eye, tuple(x.shape)), x)
    base, n = (op.inv(x), -n) if n < 0 else (x, n)
    result: Any = None
    while n:
        if n % 2:
            result = base if result is None else op.matmul(result, base)
        n //= 2
        if n:
            base = op.matmul(base, base)
    return result


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f.__name__: f for f in (matmul, tensordot, vecdot, matrix_transpose, diagonal, trace, outer, cross, matrix_power)},
    **inverses.FUNCTIONS,
    **determinants.FUNCTIONS,
    **triangular_factors.FUNCTIONS,
    **spectral.FUNCTIONS,
    **norms.FUNCTIONS,
}
