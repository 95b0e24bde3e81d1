"""Solutions of linear equations, inverses and pseudoinverses.

M. Giles, Collected matrix derivative results for forward and reverse mode algorithmic differentiation (2008);
G. Golub and V. Pereyra, The differentiation of pseudo-inverses and nonlinear least squares problems whose variables
separate (1973).
"""

from __future__ import annotations

from typing import Any

from .broadcasting import unbroadcast
from .factorisations import transpose
from .manipulation import expand_dims
from .primitive import Maps, define

Array = Any
Args = list[Any]
Params = dict[str, Any]


def _solve_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    a, shape = args[0], tuple(args[i].shape)
    if i == 1:
        return (lambda t: op.solve(a, t)), (lambda g: unbroadcast(op, op.solve(transpose(op, a), g), shape))

    def push(t: Array) -> Array:
        return op.negative(op.solve(a, op.matmul(t, y)))

    def pull(g: Array) -> Array:
        return unbroadcast(op, op.negative(op.matmul(op.solve(transpose(op, a), g), transpose(op, y))), shape)

    return push, pull


def _inverse_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    def sandwich(left: Array, middle: Array) -> Array:
        return op.negative(op.matmul(left, op.matmul(middle, left)))

    return (lambda t: sandwich(y, t)), (lambda g: sandwich(transpose(op, y), g))


def _pseudoinverse_rule(op: Any, i: int, p: Array, args: Args, params: Params) -> Maps:
    """dP = -P dA P + P Pᵀ dAᵀ (I - A P) + (I - P A) dAᵀ Pᵀ P, among matrices of one rank."""
    a = args[0]

    def push(t: Array) -> Array:
        pt, tt = transpose(op, p), transpose(op, t)
        rows = op.matmul(p, op.matmul(pt, tt))
        columns = op.matmul(op.matmul(tt, pt), p)
        rows = op.subtract(rows, op.matmul(op.matmul(rows, a), p))
        columns = op.subtract(columns, op.matmul(p, op.matmul(a, columns)))
        return op.subtract(op.add(rows, columns), op.matmul(p, op.matmul(t, p)))

    def pull(g: Array) -> Array:
        pt, gt = transpose(op, p), transpose(op, g)
        rows = op.matmul(op.matmul(gt, p), pt)
        columns = op.matmul(pt, op.matmul(p, gt))
        rows = op.subtract(rows, op.matmul(a, op.matmul(p, rows)))
        columns = op.subtract(columns, op.matmul(op.matmul(columns, p), a))
        return op.subtract(op.add(rows, columns), op.matmul(pt, op.matmul(g, pt)))

    return push, pull


def _pseudoinverse(xp: Any) -> Any:
    return lambda a, *, rtol: xp.linalg.pinv(a) if rtol is None else xp.linalg.pinv(a, rtol=rtol)


define("solve", lambda xp: lambda a, b: xp.linalg.solve(a, b), _solve_rule)
define("inv", lambda xp: lambda a: xp.linalg.inv(a), _inverse_rule)
define("pinv", _pseudoinverse, _pseudoinverse_rule)

# The functions of the standard, from the primitives -----------------------------------------------


def solve(op: Any, x1: Array, x2: Array, /) -> Array:
    """x with x1 x = x2; x2 with one axis is a vector."""
    if len(x2.shape) > 1:
        return op.solve(x1, x2)
    y = op.solve(x1, expand_dims(op, x2, axis=-1))
    return op.reshape(y, shape=tuple(y.shape[:-1]))


def inv(op: Any, x: Array, /) -> Array:
    """The inverse."""
    return op.inv(x)


def pinv(op: Any, x: Array, /, *, rtol: Any = None) -> Array:
    """The pseudoinverse, differentiated among matrices of the same rank: it jumps where the rank changes."""
    return op.pinv(x, rtol=op.strip(rtol))


FUNCTIONS = {f.__name__: f for f in (solve, inv, pinv)}
