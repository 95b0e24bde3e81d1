"""Eigenvalues and eigenvectors of symmetric matrices, and singular values and vectors.

M. Giles, Collected matrix derivative results (2008); J. Townsend, Differentiating the singular value decomposition
(2016).

Gauge. The signs of the vectors are the library's choice and locally constant; derivatives are those with vᵢᵀ dvᵢ = 0.
A function that depends on the choice (of a vector itself) has a derivative that does, too.

Repeated values. Each of several equal eigenvalues has no derivative, functions that treat them alike do (their sum,
Σ f(λ)), and get it here. Vectors of equal eigenvalues have none, being an arbitrary basis: what is derived from them is
NaN, and values count as equal that rounding cannot tell apart (a gap of at most k ε max |λ|, for k of them). The usual
way out, to put 0 for 1 / (λⱼ - λᵢ), is not taken: it is right for the projector on the common eigenspace, but for
V f(Λ) Vᵀ it drops f′(λ) between the vectors of the block in silence. The second derivative of Σ f(λ) needs the vectors.
Singular values and vectors are the same; beyond that, vectors of a matrix that is not square need singular values
that are not zero.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import DifferentiationError
from .factorisations import Shared, as_row, part, symmetrised, transpose
from .primitive import Maps, define
from .traced import is_differentiated

Array = Any
Args = list[Any]
Params = dict[str, Any]


class EighResult(NamedTuple):
    """Eigenvalues, ascending, and eigenvectors."""

    eigenvalues: Array
    eigenvectors: Array


class SVDResult(NamedTuple):
    """U, the singular values in descending order, and Vᵀ."""

    U: Array
    S: Array
    Vh: Array


def _rates(op: Any, values: Array, squared: bool) -> Array:
    """1 / (λⱼ - λᵢ), or of squares; zero on the diagonal and NaN where two values cannot be told apart."""
    k = values.shape[-1]
    row, column = as_row(op, values), op.reshape(values, shape=(*values.shape, 1))
    gaps = op.subtract(row, column)
    if k == 0:
        return gaps
    xp, plain = op.xp, op.strip(values)
    resolution = xp.max(xp.abs(plain), axis=-1, keepdims=True) * (k * float(xp.finfo(plain.dtype).eps))
    same = xp.eye(k, dtype=xp.bool, device=op.device(plain))
    apart = xp.abs(op.strip(gaps)) > xp.expand_dims(resolution, axis=-1)
    gaps = op.multiply(gaps, op.add(row, column)) if squared else gaps
    rates = op.where(apart, op.divide(1.0, op.where(apart, gaps, 1.0)), math.nan)
    return op.where(same, 0.0, rates)


def _eigenvalues_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    a = args[0]

    def push(t: Array) -> Array:
        vectors = op.eigenvectors(a, **params)
        product = op.multiply(vectors, op.matmul(symmetrised(op, t), vectors))
        return op.sum(product, axis=(len(t.shape) - 2,), keepdims=False)

    def pull(g: Array) -> Array:
        vectors = op.eigenvectors(a, **params)
        return op.matmul(op.multiply(vectors, as_row(op, g)), transpose(op, vectors))

    return push, pull


def _eigenvectors_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    a = args[0]

    @functools.cache
    def rates() -> Array:
        return _rates(op, op.eigenvalues(a, **params), squared=False)

    def push(t: Array) -> Array:
        mixed = op.matmul(transpose(op, y), op.matmul(symmetrised(op, t), y))
        return op.matmul(y, op.multiply(rates(), mixed))

    def pull(g: Array) -> Array:
        mixed = op.multiply(rates(), op.matmul(transpose(op, y), g))
        return symmetrised(op, op.matmul(y, op.matmul(mixed, transpose(op, y))))

    return push, pull


def _singular_values_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    a = args[0]

    def vectors() -> tuple[Array, Array]:
        return op.svd_left(a, **params), transpose(op, op.svd_right(a, **params))

    def push(t: Array) -> Array:
        left, right = vectors()
        return op.sum(op.multiply(left, op.matmul(t, right)), axis=(len(t.shape) - 2,), keepdims=False)

    def pull(g: Array) -> Array:
        left, right = vectors()
        return op.matmul(op.multiply(left, as_row(op, g)), transpose(op, right))

    return push, pull


def _singular_vectors(op: Any, u: Array, s: Array, v: Callable[[], Array], incomplete: bool) -> Maps:
    """dU = U (F ∘ (P S + S Pᵀ)) + (I - U Uᵀ) dA V S⁻¹ with P = Uᵀ dA V; for V exchange the sides."""

    @functools.cache
    def rates() -> Array:
        return _rates(op, s, squared=True)

    row = as_row(op, s)

    def push(t: Array) -> Array:
        tv = op.matmul(t, v())
        p = op.matmul(transpose(op, u), tv)
        scaled = op.multiply(p, row)
        change = op.matmul(u, op.multiply(rates(), op.add(scaled, transpose(op, scaled))))
        if incomplete:
            change = op.add(change, op.divide(op.subtract(tv, op.matmul(u, p)), row))
        return change

    def pull(g: Array) -> Array:
        k = op.matmul(transpose(op, u), g)
        m = op.multiply(rates(), k)
        inner = op.matmul(u, op.multiply(op.add(m, transpose(op, m)), row))
        if incomplete:
            inner = op.add(inner, op.divide(op.subtract(g, op.matmul(u, k)), row))
        return op.matmul(inner, transpose(op, v()))

    return push, pull


def _left_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    a = args[0]
    values = op.svd_values(a, **params)
    return _singular_vectors(
        op, y, values, lambda: transpose(op, op.svd_right(a, **params)), incomplete=a.shape[-2] > a.shape[-1]
    )


def _right_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    a = args[0]
    values = op.svd_values(a, **params)
    push, pull = _singular_vectors(
        op, transpose(op, y), values, lambda: op.svd_left(a, **params), incomplete=a.shape[-1] > a.shape[-2]
    )
    return (lambda t: transpose(op, push(transpose(op, t)))), (lambda g: transpose(op, pull(transpose(op, g))))


define("eigenvalues", part(0), _eigenvalues_rule)
define("eigenvectors", part(1), _eigenvectors_rule)
define("svd_left", part(0), _left_rule)
define("svd_values", part(1), _singular_values_rule)
define("svd_right", part(2), _right_rule)

# The functions of the standard, from the primitives -----------------------------------------------


def eigh(op: Any, x: Array, /) -> EighResult:
    """Eigenvalues and eigenvectors of symmetric matrices; the derivative of the vectors needs distinct values."""
    shared = Shared(op.xp.linalg.eigh)
    return EighResult(op.eigenvalues(x, shared=shared), op.eigenvectors(x, shared=shared))


def eigvalsh(op: Any, x: Array, /) -> Array:
    """Eigenvalues of symmetric matrices."""
    if not is_differentiated(x):  # the vectors, which only the derivative needs, cost several times as much
        return op.constant(op.xp.linalg.eigvalsh(op.strip(x)), x)
    return op.eigenvalues(x, shared=Shared(op.xp.linalg.eigh))


def _svd(op: Any) -> Shared:
    return Shared(lambda a: op.xp.linalg.svd(a, full_matrices=False))


def svd(op: Any, x: Array, /, *, full_matrices: bool = True) -> SVDResult:
    """U, S and Vᵀ with x = U diag(S) Vᵀ.

    Raises:
        DifferentiationError: for the full matrices of one that is not square: any basis of the complement would do, so
            that they are no function of the matrix.
    """
    if full_matrices and x.shape[-2] != x.shape[-1]:
        if not is_differentiated(x):
            return SVDResult(*[op.constant(a, x) for a in op.xp.linalg.svd(op.strip(x), full_matrices=True)])
        raise DifferentiationError(
            f"linalg.svd(full_matrices=True) of shape {tuple(x.shape)}: the vectors beyond the singular values are an "
            "arbitrary basis and have no derivative; use full_matrices=False"
        )
    shared = _svd(op)
    return SVDResult(op.svd_left(x, shared=shared), op.svd_values(x, shared=shared), op.svd_right(x, shared=shared))


def svdvals(op: Any, x: Array, /) -> Array:
    """Singular values, descending."""
    if not is_differentiated(x):
        return op.constant(op.xp.linalg.svdvals(op.strip(x)), x)
    return op.svd_values(x, shared=_svd(op))


FUNCTIONS = {f.__name__: f for f in (eigh, eigvalsh, svd, svdvals)}
