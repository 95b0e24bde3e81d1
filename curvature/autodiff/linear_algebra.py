"""Products of matrices."""

from __future__ import annotations

import math
import operator
from typing import Any

from ..errors import ShapeError
from .broadcasting import unbroadcast
from .primitive import Maps, define

Array = Any
Args = list[Any]
Params = dict[str, Any]


def _transpose(op: Any, x: Array) -> Array:
    n = len(x.shape)
    return op.permute_dims(x, axes=(*range(n - 2), n - 1, n - 2))


def _column(op: Any, x: Array) -> Array:
    return op.reshape(x, shape=(*x.shape, 1))


def _row(op: Any, x: Array) -> Array:
    return op.reshape(x, shape=(*x.shape[:-1], 1, x.shape[-1]))


def _pull_left(op: Any, g: Array, a_shape: tuple[int, ...], b: Array) -> Array:
    """Cotangent of a in a @ b."""
    if len(b.shape) == 1:
        return op.multiply(_column(op, g), b)
    if len(a_shape) == 1:
        product = op.matmul(b, _column(op, g))
        return unbroadcast(op, op.reshape(product, shape=product.shape[:-1]), a_shape)
    return unbroadcast(op, op.matmul(g, _transpose(op, b)), a_shape)


def _pull_right(op: Any, g: Array, a: Array, b_shape: tuple[int, ...]) -> Array:
    """Cotangent of b in a @ b. A single matrix b takes one product over all rows of a."""
    if len(a.shape) == 1:
        return op.multiply(g, a) if len(b_shape) == 1 else op.multiply(_column(op, a), _row(op, g))
    if len(b_shape) > 2:
        return unbroadcast(op, op.matmul(_transpose(op, a), g), b_shape)
    if len(a.shape) > 2:
        rows = math.prod(a.shape[:-1])
        a = op.reshape(a, shape=(rows, a.shape[-1]))
        g = op.reshape(g, shape=(rows, *b_shape[1:]))
    return op.matmul(_transpose(op, a), g)


def _matmul_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    a, b = args
    dtype = args[i].dtype

    if i == 0:
        a_shape = tuple(a.shape)

        def pull(g: Array) -> Array:
            g = _pull_left(op, g, a_shape, b)
            return g if g.dtype == dtype else op.astype(g, dtype=dtype)

        return (lambda t: op.matmul(t, b)), pull

    b_shape = tuple(b.shape)

    def pull_right(g: Array) -> Array:
        g = _pull_right(op, g, a, b_shape)
        return g if g.dtype == dtype else op.astype(g, dtype=dtype)

    return (lambda t: op.matmul(a, t)), pull_right


define("matmul", lambda xp: operator.matmul, _matmul_rule)

# The functions of the standard, from the primitives -----------------------------------------------


def vecdot(op: Any, x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Σ x1 x2 along an axis."""
    if axis >= 0:
        raise ValueError("vecdot counts its axis from the end: it must be negative")
    if x1.shape[axis] != x2.shape[axis]:
        raise ShapeError(f"vecdot of shapes {tuple(x1.shape)} and {tuple(x2.shape)}: axis {axis} differs in length")
    product = op.multiply(x1, x2)
    return op.sum(product, axis=(axis % len(product.shape),), keepdims=False)


def tensordot(op: Any, x1: Array, x2: Array, /, *, axes: Any = 2) -> Array:
    """Sum of products over pairs of axes."""
    n1, n2 = len(x1.shape), len(x2.shape)
    if isinstance(axes, int):
        left, right = list(range(n1 - axes, n1)), list(range(axes))
    else:
        left, right = [a % n1 for a in axes[0]], [a % n2 for a in axes[1]]
    if [x1.shape[a] for a in left] != [x2.shape[a] for a in right]:
        raise ShapeError(f"tensordot of shapes {tuple(x1.shape)} and {tuple(x2.shape)} over axes {axes}: lengths differ")
    rest1 = [a for a in range(n1) if a not in left]
    rest2 = [a for a in range(n2) if a not in right]
    shape1, shape2 = tuple(x1.shape[a] for a in rest1), tuple(x2.shape[a] for a in rest2)
    inner = math.prod(x1.shape[a] for a in left)
    if [*rest1, *left] != list(range(n1)):
        x1 = op.permute_dims(x1, axes=(*rest1, *left))
    if [*right, *rest2] != list(range(n2)):
        x2 = op.permute_dims(x2, axes=(*right, *rest2))
    # The leading axes stay apart, so that the examples stay on the first one for whoever looks at the product.
    x1 = op.ns.reshape(x1, (*(shape1 or (1,)), inner))
    x2 = op.ns.reshape(x2, (inner, math.prod(shape2)))
    return op.ns.reshape(op.matmul(x1, x2), (*shape1, *shape2))


FUNCTIONS = {f.__name__: f for f in (vecdot, tensordot)}
