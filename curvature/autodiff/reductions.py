"""Functions that reduce axes."""

from __future__ import annotations

import math
from typing import Any

from .primitive import Maps, define
from .traced import strip

Array = Any
Args = list[Any]
Params = dict[str, Any]


def _kept(shape: tuple[int, ...], axis: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if i in axis else n for i, n in enumerate(shape))


def _spread(op: Any, g: Array, shape: tuple[int, ...], axis: tuple[int, ...]) -> Array:
    """The transpose of a sum: every summand gets the cotangent."""
    kept = _kept(shape, axis)
    return op.broadcast_to(g if g.shape == kept else op.reshape(g, shape=kept), shape=shape)


def _sum_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    shape, axis = tuple(args[0].shape), params["axis"]
    return (lambda t: op.sum(t, **params)), (lambda g: _spread(op, g, shape, axis))


def _mean_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    shape, axis = tuple(args[0].shape), params["axis"]
    count = max(math.prod(shape[a] for a in axis), 1)
    return (lambda t: op.mean(t, **params)), (lambda g: _spread(op, op.divide(g, count), shape, axis))


def _extremum_rule(op: Any, i: int, y: Array, args: Args, params: Params) -> Maps:
    """The derivative goes to where the extremum is attained, in equal shares."""
    x, axis, keepdims = args[0], params["axis"], params["keepdims"]
    shape = tuple(x.shape)
    shares: list[Array] = []

    def share() -> Array:
        if not shares:
            kept = y if keepdims else op.reshape(y, shape=_kept(shape, axis))
            hit = op.astype(op.equal(x, kept), dtype=x.dtype)
            shares.append(op.divide(hit, op.sum(hit, axis=axis, keepdims=True)))
        return shares[0]

    def push(t: Array) -> Array:
        return op.sum(op.multiply(t, share()), axis=axis, keepdims=keepdims)

    def pull(g: Array) -> Array:
        return op.multiply(_spread(op, g, shape, axis), share())

    return push, pull


def _reduction(name: str, rule: Any) -> None:
    define(name, lambda xp: lambda x, *, axis, keepdims: getattr(xp, name)(x, axis=axis, keepdims=keepdims), rule)


_reduction("sum", _sum_rule)
_reduction("mean", _mean_rule)
_reduction("max", _extremum_rule)
_reduction("min", _extremum_rule)
_reduction("all", None)
_reduction("any", None)
_reduction("count_nonzero", None)
_reduction("argmax", None)
_reduction("argmin", None)

# The functions of the standard, from the primitives -----------------------------------------------


def reduced_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes meant by ``axis``, counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if any(not -ndim <= a < ndim for a in axes):
        raise IndexError(f"axis {axis} is out of range for {ndim} axes")
    return tuple(a % ndim for a in axes)


def sum_(op: Any, x: Array, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Sum over axes."""
    if dtype is not None:
        x = op.ns.astype(x, dtype)
    axes = reduced_axes(axis, len(x.shape))
    if not axes and op.is_floating(x):
        return x  # some libraries take no axes to mean all
    return op.sum(x, axis=axes, keepdims=keepdims)


def mean(op: Any, x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Mean over axes."""
    axes = reduced_axes(axis, len(x.shape))
    return op.mean(x, axis=axes, keepdims=keepdims) if axes else x


def max_(op: Any, x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Largest element; where several are largest they share the derivative equally."""
    axes = reduced_axes(axis, len(x.shape))
    return op.max(x, axis=axes, keepdims=keepdims) if axes else x


def min_(op: Any, x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
    """Smallest element; where several are smallest they share the derivative equally."""
    axes = reduced_axes(axis, len(x.shape))
    return op.min(x, axis=axes, keepdims=keepdims) if axes else x


def prod(op: Any, x: Array, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Product over axes, by halving: log₂ n multiplications, whose derivatives are right at zeros too."""
    if not op.is_floating(x) and (dtype is None or not op.xp.isdtype(dtype, "real floating")):
        return op.constant(op.xp.prod(strip(x), axis=axis, dtype=dtype, keepdims=keepdims), x)
    if dtype is not None:
        x = op.ns.astype(x, dtype)
    ndim = len(x.shape)
    axes = reduced_axes(axis, ndim)
    rest = tuple(a for a in range(ndim) if a not in axes)
    shape = tuple(x.shape)
    lead = tuple(shape[a] for a in rest)
    n = math.prod(shape[a] for a in axes)
    y = op.reshape(op.permute_dims(x, axes=(*rest, *axes)), shape=(*lead, n))
    while n > 1:
        half = n // 2
        parts = [op.multiply(y[..., :half], y[..., half : 2 * half])]
        if n % 2:
            parts.append(y[..., n - 1 :])
        n = half + n % 2
        y = op.ns.concat(parts, axis=-1)
    if n == 0:
        y = op.xp.ones((*lead, 1), dtype=x.dtype, device=op.device(x))
    return op.reshape(y, shape=_kept(shape, axes) if keepdims else lead)


def var(op: Any, x: Array, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Array:
    """Σ (x - mean)² / (n - correction)."""
    axes = reduced_axes(axis, len(x.shape))
    deviation = op.subtract(x, mean(op, x, axis=axes, keepdims=True))
    total = sum_(op, op.multiply(deviation, deviation), axis=axes, keepdims=keepdims)
    freedom = math.prod(x.shape[a] for a in axes) - correction
    return op.divide(total, freedom if freedom > 0 else math.nan)


def std(op: Any, x: Array, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Array:
    """Square root of the variance; its derivative at equal elements is taken as zero."""
    return root_of_squares(op, var(op, x, axis=axis, correction=correction, keepdims=keepdims))


def root_of_squares(op: Any, total: Array) -> Array:
    """√total of a sum of squares, with derivative zero at zero: the share of each element there, not ∞ · 0."""
    zero = op.equal(total, 0)
    return op.where(zero, total, op.sqrt(op.where(zero, 1.0, total)))


def _locally_constant(name: str) -> Any:
    def function(op: Any, x: Array, /, *, axis: Any = None, keepdims: bool = False) -> Array:
        return getattr(op, name)(x, axis=axis, keepdims=keepdims)

    return function


FUNCTIONS = {f.__name__.rstrip("_"): f for f in (sum_, mean, max_, min_, prod, var, std)} | {
    name: _locally_constant(name) for name in ("all", "any", "count_nonzero", "argmax", "argmin")
}
