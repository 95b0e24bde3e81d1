"""Indexing, taking and sorting: linear in the array; the transpose adds into zeros."""

from __future__ import annotations

import math
from typing import Any

import array_api_compat

from ..errors import DifferentiationError
from .primitive import Forward, Maps, define
from .scatter import scatter_rows
from .traced import strip

Array = Any
Args = list[Any]
Params = dict[str, Any]


def _scatter(xp: Any) -> Forward:
    def apply(g: Array, *, key: tuple[Any, ...], shape: tuple[int, ...]) -> Array:
        out = xp.zeros(shape, dtype=g.dtype, device=array_api_compat.device(g))
        if hasattr(out, "at"):  # arrays that cannot be written to
            return out.at[key].set(g)
        out[key] = g
        return out

    return apply


def _getitem_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    key, shape = params["key"], tuple(args[0].shape)
    return (lambda t: op.getitem(t, key=key)), (lambda g: op.scatter(g, key=key, shape=shape))


def _scatter_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    key, shape = params["key"], params["shape"]
    return (lambda t: op.scatter(t, key=key, shape=shape)), (lambda g: op.getitem(g, key=key))


def _take_rows_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    indices, n = params["indices"], args[0].shape[0]
    return (lambda t: op.take_rows(t, indices=indices)), (lambda g: op.scatter_rows(g, indices=indices, n=n))


def _scatter_rows_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    indices = params["indices"]
    return (lambda t: op.scatter_rows(t, **params)), (lambda g: op.take_rows(g, indices=indices))


define("getitem", lambda xp: lambda x, *, key: x[key], _getitem_rule)
define("scatter", _scatter, _scatter_rule)
define("take_rows", lambda xp: lambda x, *, indices: xp.take(x, indices, axis=0), _take_rows_rule)
define("scatter_rows", scatter_rows, _scatter_rows_rule)

# The functions of the standard, from the primitives -----------------------------------------------


def getitem(op: Any, x: Array, key: Any) -> Array:
    """``x[key]`` with integers, slices, Ellipsis, None and integer arrays."""
    key = tuple(strip(k) for k in (key if isinstance(key, tuple) else (key,)))
    for k in key:
        if (getattr(k, "dtype", None) is not None and op.xp.isdtype(k.dtype, "bool")) or isinstance(k, (bool, list)):
            raise DifferentiationError(
                "indexing an array under differentiation with a mask (or a list): the shape of the result would depend "
                "on values; use xp.where(mask, x, 0.0), or integer indices as an array"
            )
    key = _expand_ellipsis(key, len(x.shape))
    plain = tuple(k for k in key if k is not None)
    arrays = any(_is_index_array(k) for k in plain)
    new_axes = len(plain) < len(key)
    if arrays and new_axes:
        raise DifferentiationError("indexing with None together with integer arrays: use xp.expand_dims for the None")
    if arrays:
        return _advanced(op, x, plain)
    plain = tuple(k if isinstance(k, slice) else int(k) for k in plain)
    y = x if all(k == slice(None) for k in plain) else op.getitem(x, key=plain)
    if not new_axes:
        return y
    sizes = iter(y.shape)
    return op.reshape(y, shape=tuple(1 if k is None else next(sizes) for k in key if k is None or isinstance(k, slice)))


def _is_index_array(k: Any) -> bool:
    return hasattr(k, "shape") and len(k.shape) > 0


def _expand_ellipsis(key: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    """The key with one entry for each axis, plus the Nones."""
    used = sum(k is not None and k is not Ellipsis for k in key)
    if used > ndim:
        raise IndexError(f"too many indices: {used} for {ndim} axes")
    fill = (slice(None),) * (ndim - used)
    for i, k in enumerate(key):
        if k is Ellipsis:
            return (*key[:i], *fill, *key[i + 1 :])
    return (*key, *fill)


def _advanced(op: Any, x: Array, key: tuple[Any, ...]) -> Array:
    """Indexing with integer arrays: slices first, then rows of the array with the indexed axes merged in front."""
    slices = tuple(k if isinstance(k, slice) else slice(None) for k in key)
    if any(k != slice(None) for k in slices):
        x = op.getitem(x, key=slices)
    chosen = [axis for axis, k in enumerate(key) if not isinstance(k, slice)]
    rest = [axis for axis in range(len(key)) if axis not in chosen]
    shape = tuple(x.shape)
    indices = op.ns.broadcast_arrays(*[_normalise(op, key[axis], shape[axis], x) for axis in chosen])
    flat = indices[0]
    for axis, index in zip(chosen[1:], indices[1:], strict=True):
        flat = flat * shape[axis] + index
    rows = op.permute_dims(x, axes=(*chosen, *rest))
    rest_shape = tuple(shape[axis] for axis in rest)
    rows = op.reshape(rows, shape=(math.prod(shape[axis] for axis in chosen), math.prod(rest_shape)))
    y = op.take_rows(rows, indices=op.xp.reshape(flat, (-1,)))
    y = op.reshape(y, shape=(*flat.shape, *rest_shape))
    if chosen[-1] - chosen[0] + 1 == len(chosen) and chosen[0] > 0:
        # Neighbouring indices put their axes in the place of those that they index, others in front.
        n = len(flat.shape)
        y = op.ns.moveaxis(y, tuple(range(n)), tuple(range(chosen[0], chosen[0] + n)))
    return y


def _normalise(op: Any, index: Any, n: int, like: Array) -> Array:
    """An index as an array of non-negative integers."""
    if isinstance(index, int):
        index = op.xp.asarray(index, dtype=op.index_dtype, device=op.device(like))
    return op.xp.where(index < 0, index + n, index)


def take(op: Any, x: Array, indices: Array, /, *, axis: int | None = None) -> Array:
    """The slices of ``x`` at ``indices`` along an axis."""
    n = len(x.shape)
    if axis is None:
        if n != 1:
            raise ValueError("axis is needed for an array that is not a vector")
        axis = 0
    axis %= n
    indices = strip(indices)
    if axis == 0 and n == 1 and len(indices.shape) == 1:
        return op.take_rows(x, indices=_normalise(op, indices, x.shape[0], x))
    return _advanced(op, x, (*(slice(None),) * axis, indices, *(slice(None),) * (n - axis - 1)))


def take_along_axis(op: Any, x: Array, indices: Array, /, *, axis: int = -1) -> Array:
    """y[…, i, …] = x[…, indices[…, i, …], …] along an axis; the other axes broadcast."""
    indices = strip(indices)
    n = len(x.shape)
    axis %= n
    lead = op.ns.broadcast_shapes(
        tuple(1 if a == axis else m for a, m in enumerate(x.shape)),
        tuple(1 if a == axis else m for a, m in enumerate(indices.shape)),
    )
    x = op.ns.broadcast_to(x, tuple(x.shape[axis] if a == axis else m for a, m in enumerate(lead)))
    indices = op.xp.broadcast_to(indices, tuple(indices.shape[axis] if a == axis else m for a, m in enumerate(lead)))
    rows = op.reshape(op.ns.moveaxis(x, axis, -1), shape=(math.prod(x.shape),))
    wanted = op.xp.moveaxis(_normalise(op, indices, x.shape[axis], x), axis, -1)
    groups = math.prod(wanted.shape[:-1])
    starts = op.xp.arange(groups, dtype=wanted.dtype, device=op.device(wanted)) * x.shape[axis]
    flat = op.xp.reshape(wanted, (groups, wanted.shape[-1])) + op.xp.reshape(starts, (groups, 1))
    y = op.reshape(op.take_rows(rows, indices=op.xp.reshape(flat, (-1,))), shape=tuple(wanted.shape))
    return op.ns.moveaxis(y, -1, axis)


def argsort(op: Any, x: Array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """Indices that sort ``x``; locally constant."""
    return op.constant(op.xp.argsort(strip(x), axis=axis, descending=descending, stable=stable), x)


def sort(op: Any, x: Array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """``x`` in order along an axis."""
    return take_along_axis(op, x, argsort(op, x, axis=axis, descending=descending, stable=stable), axis=axis)


def searchsorted(op: Any, x1: Array, x2: Array, /, *, side: str = "left", sorter: Any = None) -> Array:
    """Places of insertion; locally constant."""
    value = op.xp.searchsorted(strip(x1), strip(x2), side=side, sorter=strip(sorter))
    return op.constant(value, x1, x2)


FUNCTIONS = {f.__name__: f for f in (getitem, take, take_along_axis, argsort, sort, searchsorted)}
