"""The linalg extension: products, solutions, factorisations, norms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import DifferentiationError
from . import factorisations as factorisations  # defines its primitives when imported
from .linear_algebra import tensordot, vecdot
from .manipulation import expand_dims, matrix_transpose
from .reductions import reduced_axes

Array = Any


class SlogdetResult(NamedTuple):
    """Sign and logarithm of the absolute value of a determinant."""

    sign: Array
    logabsdet: Array


class EighResult(NamedTuple):
    """Eigenvalues, ascending, and eigenvectors."""

    eigenvalues: Array
    eigenvectors: Array


def matmul(op: Any, x1: Array, x2: Array, /) -> Array:
    """The product of matrices."""
    return op.matmul(x1, x2)


def solve(op: Any, x1: Array, x2: Array, /) -> Array:
    """x with x1 x = x2; x2 with one axis is a vector."""
    if len(x2.shape) > 1:
        return op.solve(x1, x2)
    y = op.solve(x1, expand_dims(op, x2, axis=-1))
    return op.reshape(y, shape=tuple(y.shape[:-1]))


def inv(op: Any, x: Array, /) -> Array:
    """The inverse."""
    return op.inv(x)


def det(op: Any, x: Array, /) -> Array:
    """The determinant. (Its derivative needs an invertible matrix.)"""
    return op.det(x)


def slogdet(op: Any, x: Array, /) -> SlogdetResult:
    """Sign (locally constant) and logarithm of the absolute value of the determinant."""
    return SlogdetResult(op.sign_of_determinant(x), op.logabsdet(x))


def cholesky(op: Any, x: Array, /, *, upper: bool = False) -> Array:
    """The Cholesky factor, as a function of symmetric matrices: the cotangent is symmetric."""
    factor = op.cholesky(x)
    return matrix_transpose(op, factor) if upper else factor


def eigh(op: Any, x: Array, /) -> EighResult:
    """Eigenvalues and eigenvectors of symmetric matrices; the derivative of the vectors needs distinct values."""
    return EighResult(op.eigenvalues(x), op.eigenvectors(x))


def eigvalsh(op: Any, x: Array, /) -> Array:
    """Eigenvalues of symmetric matrices."""
    return op.eigenvalues(x)


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
    return op.multiply(expand_dims(op, x1, axis=1), expand_dims(op, x2, axis=0))


def cross(op: Any, x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """The cross product of vectors of three elements."""
    a, b = op.ns.unstack(x1, axis=axis), op.ns.unstack(x2, axis=axis)
    if len(a) != 3 or len(b) != 3:
        raise ValueError(f"cross is for vectors of three elements, got {len(a)} and {len(b)}")
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


def vector_norm(op: Any, x: Array, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Array:
    """(Σ |x|^p)^(1/p); the derivative of the 2-norm at zero is taken as zero."""
    axes = reduced_axes(axis, len(x.shape))
    reduce: dict[str, Any] = {"axis": axes, "keepdims": keepdims}
    if ord == math.inf:
        return op.ns.max(op.abs(x), **reduce)
    if ord == -math.inf:
        return op.ns.min(op.abs(x), **reduce)
    if ord == 1:
        return op.ns.sum(op.abs(x), **reduce)
    if ord == 0:
        return op.ns.astype(op.count_nonzero(x, **reduce), x.dtype)
    if ord != 2:
        return op.pow(op.ns.sum(op.pow(op.abs(x), ord), **reduce), 1.0 / ord)
    squares = op.ns.sum(op.multiply(x, x), **reduce)
    positive = op.greater(squares, 0)
    return op.where(positive, op.sqrt(op.where(positive, squares, 1.0)), squares)


def matrix_norm(op: Any, x: Array, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    """The Frobenius norm of the last two axes."""
    if ord != "fro":
        raise DifferentiationError(f"linalg.matrix_norm with ord={ord!r} has no derivative rule, only 'fro' has one")
    return vector_norm(op, x, axis=(-2, -1), keepdims=keepdims)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        matmul, tensordot, vecdot, matrix_transpose, solve, inv, det, slogdet, cholesky, eigh, eigvalsh, diagonal,
        trace, outer, cross, matrix_power, vector_norm, matrix_norm,
    )
}  # fmt: skip
