"""Running sums, products and differences."""

from __future__ import annotations

from typing import Any

from .primitive import Maps, define
from .reductions import reduced_axes

Array = Any
Args = list[Any]
Params = dict[str, Any]


def _cumulative_sum_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    axis = params["axis"]

    def pull(g: Array) -> Array:
        return op.flip(op.cumulative_sum(op.flip(g, axis=axis), axis=axis), axis=axis)

    return (lambda t: op.cumulative_sum(t, axis=axis)), pull


define("cumulative_sum", lambda xp: lambda x, *, axis: xp.cumulative_sum(x, axis=axis), _cumulative_sum_rule)

# The functions of the standard, from the primitives -----------------------------------------------


def cumulative_sum(op: Any, x: Array, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Array:
    """Running sum."""
    return _cumulative(op, op.cumulative_sum, 0.0, x, axis, dtype, include_initial)


def cumulative_prod(op: Any, x: Array, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Array:
    """Running product, by doubling: log₂ n multiplications, whose derivatives are right at zeros too."""

    def scan(y: Array, *, axis: int) -> Array:
        step, n = 1, y.shape[axis]
        last = op.ns.moveaxis(y, axis, -1)
        while step < n:
            head, tail = last[..., :step], op.multiply(last[..., step:], last[..., :-step])
            last = op.ns.concat([head, tail], axis=-1)
            step *= 2
        return op.ns.moveaxis(last, -1, axis)

    return _cumulative(op, scan, 1.0, x, axis, dtype, include_initial)


def _cumulative(op: Any, scan: Any, initial: float, x: Array, axis: int | None, dtype: Any, include: bool) -> Array:
    if axis is None:
        if len(x.shape) != 1:
            raise ValueError("axis is needed for an array that is not a vector")
        axis = 0
    if dtype is not None:
        x = op.ns.astype(x, dtype)
    (axis,) = reduced_axes(axis, len(x.shape))
    y = scan(x, axis=axis)
    if not include:
        return y
    shape = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
    return op.concat(op.xp.full(shape, initial, dtype=x.dtype, device=op.device(x)), y, axis=axis)


def diff(op: Any, x: Array, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Array:
    """Differences of neighbours."""
    parts = [a for a in (prepend, x, append) if a is not None]
    y = op.ns.moveaxis(op.ns.concat(parts, axis=axis) if len(parts) > 1 else x, axis, -1)
    for _ in range(n):
        y = op.subtract(y[..., 1:], y[..., :-1])
    return op.ns.moveaxis(y, -1, axis)


FUNCTIONS = {f.__name__: f for f in (cumulative_sum, cumulative_prod, diff)}
