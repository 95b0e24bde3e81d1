"""New arrays: constants of the traced namespace, unless they are made of traced values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import DifferentiationError
from .traced import Traced, constant, strip, strip_constant

Array = Any


def _new(name: str) -> Callable[..., Array]:
    def function(op: Any, *args: Any, **kwargs: Any) -> Array:
        args = tuple(_known(name, a) for a in args)
        kwargs = {key: _known(name, a) for key, a in kwargs.items()}
        return constant(getattr(op.xp, name)(*args, **kwargs), op)

    return function


def _known(name: str, argument: Any) -> Any:
    """A bound or a size, which must not depend on what is differentiated."""
    argument = strip_constant(argument)
    if type(argument) is Traced:
        raise DifferentiationError(
            f"{name} of a value under differentiation: how many elements there are would depend on it; give numbers, and "
            "scale and shift the result: a + (b - a) * t"
        )
    return argument


def _like(name: str) -> Callable[..., Array]:
    def function(op: Any, x: Array, /, *, dtype: Any = None, device: Any = None) -> Array:
        return constant(getattr(op.xp, name)(strip(x), dtype=dtype, device=device), op)

    return function


def full(op: Any, shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Array:
    """An array of one value, which may be traced."""
    if type(fill_value) is Traced:
        value = asarray(op, fill_value, dtype=dtype, device=device)
        return op.ns.broadcast_to(value, (shape,) if isinstance(shape, int) else tuple(shape))
    return constant(op.xp.full(shape, fill_value, dtype=dtype, device=device), op)


def full_like(op: Any, x: Array, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Array:
    """An array of one value, which may be traced, in the shape of ``x``."""
    dtype = x.dtype if dtype is None else dtype
    return full(op, tuple(x.shape), fill_value, dtype=dtype, device=op.device(x) if device is None else device)


def linspace(
    op: Any, start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Array:
    """``num`` values at equal distances from ``start`` to ``stop``, either of which may be traced (of shape ())."""
    if type(start) is not Traced and type(stop) is not Traced:
        return constant(op.xp.linspace(start, stop, num, dtype=dtype, device=device, endpoint=endpoint), op)
    model = start if type(start) is Traced else stop
    if any(getattr(end, "shape", ()) != () for end in (start, stop)):
        raise DifferentiationError("linspace between arrays under differentiation: its ends must have shape ()")
    dtype = model.dtype if dtype is None else dtype
    places = op.xp.linspace(0.0, 1.0, num, dtype=model.dtype, device=op.device(model), endpoint=endpoint)
    # Weights on both ends, so that the last value is ``stop`` itself.
    return op.ns.astype(op.add(op.multiply(start, 1.0 - places), op.multiply(stop, places)), dtype)


def asarray(op: Any, x: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Array:
    """``x`` itself if it is traced; a constant from anything else."""
    if type(x) is Traced:
        x = x if device is None else x.to_device(device)
        return x if dtype is None else op.ns.astype(x, dtype)
    if _holds_traced(x):
        raise DifferentiationError("asarray of a list of arrays under differentiation: use xp.stack or xp.concat")
    return constant(op.xp.asarray(x, dtype=dtype, device=device, copy=copy), op)


def from_dlpack(op: Any, x: Any, /, **kwargs: Any) -> Array:
    """A constant from an array of any library."""
    if type(x) is Traced:
        raise DifferentiationError(
            "from_dlpack of an array under differentiation: it is in this library already, use it as it is"
        )
    return constant(op.xp.from_dlpack(x, **kwargs), op)


def _holds_traced(x: Any) -> bool:
    return type(x) is Traced or (isinstance(x, (list, tuple)) and any(_holds_traced(entry) for entry in x))


FUNCTIONS: dict[str, Callable[..., Any]] = (
    {f.__name__: f for f in (full, full_like, linspace, asarray, from_dlpack)}
    | {name: _new(name) for name in ("zeros", "ones", "empty", "eye", "arange")}
    | {name: _like(name) for name in ("zeros_like", "ones_like", "empty_like")}
)
