"""Primitives of the linalg extension: solutions, inverses, determinants, factorisations.

The formulas are those of M. Giles, Collected matrix derivative results for forward and reverse mode algorithmic
differentiation (2008), and of I. Murray, Differentiation of the Cholesky decomposition (2016).
"""

from __future__ import annotations

from typing import Any

from .broadcasting import unbroadcast
from .primitive import Maps, define

Array = Any
Args = list[Any]
Params = dict[str, Any]


def _mT(op: Any, x: Array) -> Array:
    return op.ns.matrix_transpose(x)


def symmetrised(op: Any, x: Array) -> Array:
    """(x + xᵀ) / 2."""
    return op.multiply(op.add(x, _mT(op, x)), 0.5)


def _solve_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    a, shape = args[0], tuple(args[i].shape)
    if i == 1:
        return (lambda t: op.solve(a, t)), (lambda g: unbroadcast(op, op.solve(_mT(op, a), g), shape))

    def push(t: Array) -> Array:
        return op.negative(op.solve(a, op.matmul(t, y)))

    def pull(g: Array) -> Array:
        return unbroadcast(op, op.negative(op.matmul(op.solve(_mT(op, a), g), _mT(op, y))), shape)

    return push, pull


def _inverse_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    def sandwich(left: Array, middle: Array) -> Array:
        return op.negative(op.matmul(left, op.matmul(middle, left)))

    return (lambda t: sandwich(y, t)), (lambda g: sandwich(_mT(op, y), g))


def _determinant_rule(logarithm: bool) -> Any:
    def rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
        inverse = op.inv(args[0])  # of the transpose it is the gradient, up to the factor y

        def push(t: Array) -> Array:
            rate = op.sum(op.multiply(t, _mT(op, inverse)), axis=(-2, -1), keepdims=False)
            return rate if logarithm else op.multiply(rate, y)

        def pull(g: Array) -> Array:
            g = g if logarithm else op.multiply(g, y)
            return op.multiply(op.reshape(g, shape=(*g.shape, 1, 1)), _mT(op, inverse))

        return push, pull

    return rule


def _cholesky_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    def half(x: Array) -> Array:
        return op.multiply(op.add(op.tril(x, k=0), op.tril(x, k=-1)), 0.5)

    def push(t: Array) -> Array:
        left = op.solve(y, symmetrised(op, t))
        return op.matmul(y, half(_mT(op, op.solve(y, _mT(op, left)))))

    def pull(g: Array) -> Array:
        upper = _mT(op, y)
        left = op.solve(upper, half(op.matmul(upper, g)))
        return symmetrised(op, _mT(op, op.solve(upper, _mT(op, left))))

    return push, pull


def _eigenvalues_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    vectors = op.eigenvectors(args[0])

    def push(t: Array) -> Array:
        return op.sum(op.multiply(vectors, op.matmul(symmetrised(op, t), vectors)), axis=(-2,), keepdims=False)

    def pull(g: Array) -> Array:
        scaled = op.multiply(vectors, op.reshape(g, shape=(*g.shape[:-1], 1, g.shape[-1])))
        return op.matmul(scaled, _mT(op, vectors))

    return push, pull


def _eigenvectors_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    """Not defined where eigenvalues repeat: the gaps are divided by."""
    values = op.eigenvalues(args[0])
    n = y.shape[-1]
    row = op.reshape(values, shape=(*values.shape[:-1], 1, n))
    gaps = op.subtract(row, op.reshape(values, shape=(*values.shape, 1)))
    same = op.xp.eye(n, dtype=op.xp.bool, device=op.device(y))
    rates = op.where(same, 0.0, op.divide(1.0, op.where(same, 1.0, gaps)))

    def push(t: Array) -> Array:
        mixed = op.matmul(_mT(op, y), op.matmul(symmetrised(op, t), y))
        return op.matmul(y, op.multiply(rates, mixed))

    def pull(g: Array) -> Array:
        mixed = op.multiply(rates, op.matmul(_mT(op, y), g))
        return symmetrised(op, op.matmul(y, op.matmul(mixed, _mT(op, y))))

    return push, pull


define("solve", lambda xp: lambda a, b: xp.linalg.solve(a, b), _solve_rule)
define("inv", lambda xp: lambda a: xp.linalg.inv(a), _inverse_rule)
define("det", lambda xp: lambda a: xp.linalg.det(a), _determinant_rule(False))
define("logabsdet", lambda xp: lambda a: xp.linalg.slogdet(a)[1], _determinant_rule(True))
define("sign_of_determinant", lambda xp: lambda a: xp.linalg.slogdet(a)[0], None)
define("cholesky", lambda xp: lambda a: xp.linalg.cholesky(a), _cholesky_rule)
define("eigenvalues", lambda xp: lambda a: xp.linalg.eigh(a)[0], _eigenvalues_rule)
define("eigenvectors", lambda xp: lambda a: xp.linalg.eigh(a)[1], _eigenvectors_rule)
