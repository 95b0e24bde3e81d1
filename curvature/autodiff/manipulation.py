"""Functions that move elements about: linear, and their transposes move them back."""

from __future__ import annotations

import math
from typing import Any

from .broadcasting import unbroadcast
from .primitive import Maps, define

Array = Any
Args = list[Any]
Params = dict[str, Any]


def _reshape_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    before, after = args[0].shape, y.shape
    return (lambda t: op.reshape(t, shape=after)), (lambda g: op.reshape(g, shape=before))


def _permute_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    axes = params["axes"]
    back = tuple(sorted(range(len(axes)), key=axes.__getitem__))
    return (lambda t: op.permute_dims(t, axes=axes)), (lambda g: op.permute_dims(g, axes=back))


def _broadcast_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    before, after = args[0].shape, params["shape"]
    return (lambda t: op.broadcast_to(t, shape=after)), (lambda g: unbroadcast(op, g, before))


def _concat_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    axis = params["axis"]
    start = sum(a.shape[axis] for a in args[:i])
    key = (slice(None),) * axis + (slice(start, start + args[i].shape[axis]),) + (slice(None),) * (y.ndim - axis - 1)
    shape, dtype = y.shape, args[i].dtype

    def pull(g: Array) -> Array:
        g = op.getitem(g, key=key)
        return g if g.dtype == dtype else op.astype(g, dtype=dtype)

    return (lambda t: op.scatter(t, key=key, shape=shape)), pull


def _flip_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    return (lambda t: op.flip(t, **params)), (lambda g: op.flip(g, **params))


def _roll_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    shift, axis = params["shift"], params["axis"]
    back = -shift if isinstance(shift, int) else tuple(-s for s in shift)
    return (lambda t: op.roll(t, shift=shift, axis=axis)), (lambda g: op.roll(g, shift=back, axis=axis))


def _triangle(name: str) -> None:
    def rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
        apply = getattr(op, name)
        return (lambda t: apply(t, **params)), (lambda g: apply(g, **params))

    define(name, lambda xp: lambda x, *, k: getattr(xp, name)(x, k=k), rule)


define("reshape", lambda xp: lambda x, *, shape: xp.reshape(x, shape), _reshape_rule)
define("permute_dims", lambda xp: lambda x, *, axes: xp.permute_dims(x, axes), _permute_rule)
define("broadcast_to", lambda xp: lambda x, *, shape: xp.broadcast_to(x, shape), _broadcast_rule)
define("concat", lambda xp: lambda *arrays, axis: xp.concat(list(arrays), axis=axis), _concat_rule)
define("flip", lambda xp: lambda x, *, axis: xp.flip(x, axis=axis), _flip_rule)
define("roll", lambda xp: lambda x, *, shift, axis: xp.roll(x, shift, axis=axis), _roll_rule)
_triangle("tril")
_triangle("triu")

# The functions of the standard, from the primitives -----------------------------------------------


def _axis(axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise IndexError(f"axis {axis} is out of range for {ndim} axes")
    return axis % ndim if ndim else 0


def reshape(op: Any, x: Array, /, shape: Any, *, copy: bool | None = None) -> Array:
    """``x`` in another shape, row-major."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if -1 in shape:
        known = math.prod(n for n in shape if n != -1)
        size = math.prod(x.shape)
        if known and size % known == 0:
            shape = tuple(size // known if n == -1 else n for n in shape)
    return op.reshape(x, shape=shape)


def permute_dims(op: Any, x: Array, /, axes: tuple[int, ...]) -> Array:
    """Axes in another order."""
    return op.permute_dims(x, axes=tuple(_axis(a, len(x.shape)) for a in axes))


def matrix_transpose(op: Any, x: Array, /) -> Array:
    """The last two axes exchanged."""
    n = len(x.shape)
    if n < 2:
        raise ValueError(f"matrix_transpose needs two axes, got shape {tuple(x.shape)}")
    return op.permute_dims(x, axes=(*range(n - 2), n - 1, n - 2))


def moveaxis(op: Any, x: Array, source: Any, destination: Any, /) -> Array:
    """Axes moved to new places, the others in order."""
    n = len(x.shape)
    source = [_axis(a, n) for a in ((source,) if isinstance(source, int) else source)]
    destination = [_axis(a, n) for a in ((destination,) if isinstance(destination, int) else destination)]
    axes = [a for a in range(n) if a not in source]
    for to, start in sorted(zip(destination, source, strict=True)):
        axes.insert(to, start)
    return op.permute_dims(x, axes=tuple(axes))


def expand_dims(op: Any, x: Array, /, axis: Any = 0) -> Array:
    """New axes of length one."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    n = len(x.shape) + len(axes)
    places = {_axis(a, n) for a in axes}
    old = iter(x.shape)
    return op.reshape(x, shape=tuple(1 if i in places else next(old) for i in range(n)))


def squeeze(op: Any, x: Array, /, axis: Any) -> Array:
    """Axes of length one removed."""
    n = len(x.shape)
    places = {_axis(a, n) for a in ((axis,) if isinstance(axis, int) else axis)}
    if any(x.shape[i] != 1 for i in places):
        raise ValueError(f"cannot squeeze axes {sorted(places)} of shape {tuple(x.shape)}: not of length one")
    return op.reshape(x, shape=tuple(m for i, m in enumerate(x.shape) if i not in places))


def concat(op: Any, arrays: Any, /, *, axis: int | None = 0) -> Array:
    """Arrays joined along an axis."""
    arrays = list(arrays)
    if axis is None:
        arrays = [reshape(op, a, (-1,)) for a in arrays]
        axis = 0
    return op.concat(*arrays, axis=_axis(axis, len(arrays[0].shape)))


def stack(op: Any, arrays: Any, /, *, axis: int = 0) -> Array:
    """Arrays joined along a new axis."""
    arrays = list(arrays)
    axis = _axis(axis, len(arrays[0].shape) + 1)
    return op.concat(*[expand_dims(op, a, axis=axis) for a in arrays], axis=axis)


def unstack(op: Any, x: Array, /, *, axis: int = 0) -> tuple[Array, ...]:
    """The slices along an axis."""
    n = len(x.shape)
    axis = _axis(axis, n)
    before, after = (slice(None),) * axis, (slice(None),) * (n - axis - 1)
    return tuple(op.getitem(x, key=(*before, i, *after)) for i in range(x.shape[axis]))


def flip(op: Any, x: Array, /, *, axis: Any = None) -> Array:
    """Elements in reverse order."""
    return op.flip(x, axis=axis)


def roll(op: Any, x: Array, /, shift: Any, *, axis: Any = None) -> Array:
    """Elements shifted around."""
    return op.roll(x, shift=shift, axis=axis)


def tile(op: Any, x: Array, repetitions: tuple[int, ...], /) -> Array:
    """``x`` repeated as a block along every axis."""
    n = max(len(x.shape), len(repetitions))
    shape = (1,) * (n - len(x.shape)) + tuple(x.shape)
    counts = (1,) * (n - len(repetitions)) + tuple(repetitions)
    split = op.reshape(x, shape=tuple(m for size in shape for m in (1, size)))
    wide = op.broadcast_to(split, shape=tuple(m for pair in zip(counts, shape, strict=True) for m in pair))
    return op.reshape(wide, shape=tuple(c * s for c, s in zip(counts, shape, strict=True)))


def repeat(op: Any, x: Array, repeats: Any, /, *, axis: int | None = None) -> Array:
    """Every element repeated in place."""
    if axis is None:
        x, axis = reshape(op, x, (-1,)), 0
    axis = _axis(axis, len(x.shape))
    if not isinstance(repeats, int):
        positions = op.xp.arange(x.shape[axis], dtype=op.index_dtype, device=op.device(x))
        return op.ns.take(x, op.xp.repeat(positions, op.strip(repeats)), axis=axis)
    shape = tuple(x.shape)
    wide = expand_dims(op, x, axis=axis + 1)
    wide = op.broadcast_to(wide, shape=(*shape[: axis + 1], repeats, *shape[axis + 1 :]))
    return op.reshape(wide, shape=(*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :]))


def broadcast_to(op: Any, x: Array, /, shape: tuple[int, ...]) -> Array:
    """``x`` stretched to a shape."""
    shape = tuple(shape)
    return x if tuple(x.shape) == shape else op.broadcast_to(x, shape=shape)


def broadcast_shapes(op: Any, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape."""
    result = [1] * max((len(s) for s in shapes), default=0)
    for shape in shapes:
        for i, n in enumerate(reversed(shape), 1):
            if n != 1:
                if result[-i] not in (1, n):
                    raise ValueError(f"shapes {', '.join(map(str, shapes))} do not broadcast")
                result[-i] = n
    return tuple(result)


def broadcast_arrays(op: Any, *arrays: Array) -> tuple[Array, ...]:
    """All arrays stretched to their common shape."""
    shape = broadcast_shapes(op, *[tuple(a.shape) for a in arrays])
    return tuple(broadcast_to(op, a, shape) for a in arrays)


def meshgrid(op: Any, *arrays: Array, indexing: str = "xy") -> tuple[Array, ...]:
    """Coordinate arrays."""
    n = len(arrays)
    places = list(range(n))
    if indexing == "xy" and n > 1:
        places[:2] = [1, 0]
    lines = [
        op.reshape(a, shape=tuple(a.shape[0] if k == place else 1 for k in range(n)))
        for a, place in zip(arrays, places, strict=True)
    ]
    return broadcast_arrays(op, *lines)


def tril(op: Any, x: Array, /, *, k: int = 0) -> Array:
    """The lower triangle, zero above the k-th diagonal."""
    return op.tril(x, k=k)


def triu(op: Any, x: Array, /, *, k: int = 0) -> Array:
    """The upper triangle, zero below the k-th diagonal."""
    return op.triu(x, k=k)


FUNCTIONS = {
    f.__name__: f
    for f in (
        reshape, permute_dims, matrix_transpose, moveaxis, expand_dims, squeeze, concat, stack, unstack, flip, roll,
        tile, repeat, broadcast_to, broadcast_shapes, broadcast_arrays, meshgrid, tril, triu,
    )
}  # fmt: skip
