"""Indexing and taking: linear in the array; the transpose adds into zeros."""

from __future__ import annotations

import math
import operator
from numbers import Integral
from typing import Any

from ..errors import DifferentiationError
from .primitive import Maps, define
from .reductions import reduced_axes
from .scatter import scatter, scatter_rows
from .traced import strip

Array = Any
Args = list[Any]
Params = dict[str, Any]


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
define("scatter", scatter, _scatter_rule)
define("take_rows", lambda xp: lambda x, *, indices: xp.take(x, indices, axis=0), _take_rows_rule)
define("scatter_rows", scatter_rows, _scatter_rows_rule)

# The functions of the standard, from the primitives -----------------------------------------------


def getitem(op: Any, x: Array, key: Any) -> Array:
    """``x[key]`` with integers, slices, Ellipsis, None, integer arrays and masks, in any mixture.

    Where integers and arrays stand together, their common axes take the place of those that they index; where slices or
    None separate them, they come first (NumPy's rule). What a mask selects is locally constant; the shape of the result
    depends on its values, so that libraries refuse it while they compile: ``xp.where(mask, x, 0.0)`` works everywhere.

    Raises:
        DifferentiationError: for lists and Python booleans, which not every library takes.
        IndexError: for too many indices, for a mask of another shape and for indices that are no integers.
    """
    key = tuple(strip(k) for k in (key if isinstance(key, tuple) else (key,)))
    for k in key:
        _check_entry(op, k)
    key = _each_axis(op, _expand_ellipsis(op, key, len(x.shape)), tuple(x.shape))
    plain = tuple(k for k in key if k is not None)
    new_axes = len(plain) < len(key)
    if not any(hasattr(k, "shape") for k in plain):
        y = _slices(op, x, plain)
        if not new_axes:
            return y
        sizes = iter(y.shape)
        return op.reshape(y, shape=tuple(1 if k is None else next(sizes) for k in key if k is None or isinstance(k, slice)))
    if new_axes:  # each is an axis of length one that is taken whole
        sizes = iter(x.shape)
        x = op.reshape(x, shape=tuple(1 if k is None else next(sizes) for k in key))
    return _advanced(op, x, tuple(slice(None) if k is None else k for k in key))


def _is_mask(op: Any, k: Any) -> bool:
    return hasattr(k, "shape") and not isinstance(k, Integral) and bool(op.xp.isdtype(k.dtype, "bool"))


def _check_entry(op: Any, k: Any) -> None:
    """Refuse what is no index of the standard."""
    if isinstance(k, (list, bool)):
        raise DifferentiationError(
            f"indexing an array under differentiation with a {type(k).__name__}, which not every array library takes: use "
            "an integer array, x[xp.asarray([0, 2])], or choose elements with xp.where(mask, x, 0.0), "
            "where xp = curvature.namespace(x)"
        )
    if isinstance(k, slice):
        for bound in (k.start, k.stop, k.step):
            if bound is not None:
                operator.index(bound)  # a traced one says what to do
        return
    if k is None or k is Ellipsis or isinstance(k, Integral):
        return
    if not hasattr(k, "shape"):
        raise IndexError(f"an index is {k!r}; it must be an integer, a slice, Ellipsis, None, an integer array or a mask")
    if not op.xp.isdtype(k.dtype, "integral") and not (_is_mask(op, k) and len(k.shape) > 0):
        raise IndexError(f"an index is of shape {tuple(k.shape)} and {k.dtype}; it must be integers, or a mask with axes")


def _expand_ellipsis(op: Any, key: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    """The key with its Ellipsis (at its end, if there is none) replaced by slices of everything."""
    used = sum(len(k.shape) if _is_mask(op, k) else k is not None and k is not Ellipsis for k in key)
    if used > ndim:
        raise IndexError(f"too many indices: {used} for {ndim} axes")
    fill = (slice(None),) * (ndim - used)
    places = [i for i, k in enumerate(key) if k is Ellipsis]
    if len(places) > 1:
        raise IndexError("an index can have one Ellipsis only")
    return (*key[: places[0]], *fill, *key[places[0] + 1 :]) if places else (*key, *fill)


def _each_axis(op: Any, key: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The key with one entry for each axis, plus the Nones: a mask is the positions where it holds."""
    entries: list[Any] = []
    axis = 0
    for k in key:
        if _is_mask(op, k):
            covered = shape[axis : axis + len(k.shape)]
            if tuple(k.shape) != covered:
                raise IndexError(f"a mask has shape {tuple(k.shape)}, and the axes that it indexes have {covered}")
            entries.extend(op.xp.nonzero(k))
            axis += len(k.shape)
        else:
            entries.append(operator.index(k) if isinstance(k, Integral) else k)
            axis += k is not None
    return tuple(entries)


def _slices(op: Any, x: Array, key: tuple[Any, ...]) -> Array:
    """Indexing with slices and integers; a negative step is a positive one, reversed, since not every library has it."""
    forward: list[Any] = []
    reversed_axes = []
    for n, k in zip(x.shape, key, strict=True):
        if isinstance(k, slice) and k.step is not None and k.step < 0:
            span = range(*k.indices(n))
            k = slice(span[-1], span[0] + 1, -k.step) if len(span) else slice(0, 0)
            reversed_axes.append(sum(isinstance(entry, slice) for entry in forward))
        forward.append(k)
    if any(k != slice(None) for k in forward):
        x = op.getitem(x, key=tuple(forward))
    return op.flip(x, axis=tuple(reversed_axes)) if reversed_axes else x


def _advanced(op: Any, x: Array, key: tuple[Any, ...]) -> Array:
    """Indexing with integer arrays: slices first, then rows of the array with the indexed axes merged in front."""
    x = _slices(op, x, tuple(k if isinstance(k, slice) else slice(None) for k in key))
    chosen = [axis for axis, k in enumerate(key) if not isinstance(k, slice)]
    rest = [axis for axis in range(len(key)) if axis not in chosen]
    shape = tuple(x.shape)
    flat = _flat(op, [key[axis] for axis in chosen], [shape[axis] for axis in chosen], x)
    rows = op.permute_dims(x, axes=(*chosen, *rest))
    rest_shape = tuple(shape[axis] for axis in rest)
    rows = op.reshape(rows, shape=(math.prod(shape[axis] for axis in chosen), *((math.prod(rest_shape),) if rest else ())))
    y = op.take_rows(rows, indices=op.xp.reshape(flat, (-1,)))
    y = op.reshape(y, shape=(*flat.shape, *rest_shape))
    if chosen[-1] - chosen[0] + 1 == len(chosen) and chosen[0] > 0:
        n = len(flat.shape)
        y = op.ns.moveaxis(y, tuple(range(n)), tuple(range(chosen[0], chosen[0] + n)))
    return y


def _flat(op: Any, indices: list[Any], sizes: list[int], like: Array) -> Array:
    """One index, in row-major order, for indices of several axes; what is out of range on an axis is so altogether."""
    xp, total = op.xp, math.prod(sizes)
    flat = valid = None
    for index, n in zip(op.ns.broadcast_arrays(*[_widened(op, i, like) for i in indices]), sizes, strict=True):
        place = xp.where(index < 0, index + n, index)
        inside = (place >= 0) & (place < n)
        flat = place if flat is None else flat * n + place
        valid = inside if valid is None else valid & inside
    return xp.where(valid, flat, xp.full_like(flat, total))


def _widened(op: Any, index: Any, like: Array) -> Array:
    """An index as an array of a dtype that holds every position."""
    if isinstance(index, int):
        return op.xp.asarray(index, dtype=op.index_dtype, device=op.device(like))
    return op.xp.astype(index, op.index_dtype)


def take(op: Any, x: Array, indices: Array, /, *, axis: int | None = None) -> Array:
    """The slices of ``x`` at ``indices`` along an axis."""
    n = len(x.shape)
    if axis is None:
        if n != 1:
            raise ValueError("axis is needed for an array that is not a vector")
        axis = 0
    (axis,) = reduced_axes(axis, n)
    indices = strip(indices)
    if op.xp.isdtype(indices.dtype, "bool"):
        raise IndexError("take is for integer indices; for a mask use x[mask] or xp.where(mask, x, 0.0)")
    return _advanced(op, x, (*(slice(None),) * axis, indices, *(slice(None),) * (n - axis - 1)))


def take_along_axis(op: Any, x: Array, indices: Array, /, *, axis: int = -1) -> Array:
    """y[…, i, …] = x[…, indices[…, i, …], …] along an axis; the other axes broadcast."""
    indices = strip(indices)
    n = len(x.shape)
    if len(indices.shape) != n:
        raise ValueError(f"take_along_axis needs indices with the {n} axes of the array, got shape {tuple(indices.shape)}")
    (axis,) = reduced_axes(axis, n)
    lead = op.ns.broadcast_shapes(
        tuple(1 if a == axis else m for a, m in enumerate(x.shape)),
        tuple(1 if a == axis else m for a, m in enumerate(indices.shape)),
    )
    x = op.ns.broadcast_to(x, tuple(x.shape[axis] if a == axis else m for a, m in enumerate(lead)))
    indices = op.xp.broadcast_to(indices, tuple(indices.shape[axis] if a == axis else m for a, m in enumerate(lead)))
    rows = op.reshape(op.ns.moveaxis(x, axis, -1), shape=(math.prod(x.shape),))
    wanted = op.xp.moveaxis(indices, axis, -1)
    groups = math.prod(wanted.shape[:-1])
    group = op.xp.arange(groups, dtype=op.index_dtype, device=op.device(wanted))
    pair = [op.xp.reshape(group, (groups, 1)), op.xp.reshape(wanted, (groups, wanted.shape[-1]))]
    flat = _flat(op, pair, [groups, x.shape[axis]], x)
    y = op.reshape(op.take_rows(rows, indices=op.xp.reshape(flat, (-1,))), shape=tuple(wanted.shape))
    return op.ns.moveaxis(y, -1, axis)


FUNCTIONS = {f.__name__: f for f in (getitem, take, take_along_axis)}
