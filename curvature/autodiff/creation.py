"""New arrays: constants of the traced namespace."""

from __future__ import annotations

from typing import Any

from ..errors import DifferentiationError
from .traced import Traced, constant, strip

Array = Any


def _constant(name: str) -> Any:
    def function(op: Any, *args: Any, **kwargs: Any) -> Array:
        args = tuple(strip(a) for a in args)
        return constant(getattr(op.xp, name)(*args, **kwargs), op)

    return function


def full(op: Any, shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Array:
    """An array of one value, which may be traced."""
    if type(fill_value) is Traced:
        value = fill_value if dtype is None else op.ns.astype(fill_value, dtype)
        return op.ns.broadcast_to(value, (shape,) if isinstance(shape, int) else tuple(shape))
    return constant(op.xp.full(shape, fill_value, dtype=dtype, device=device), op)


def full_like(op: Any, x: Array, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Array:
    """An array of one value, which may be traced, in the shape of ``x``."""
    return full(op, tuple(x.shape), fill_value, dtype=dtype or x.dtype, device=device or op.device(x))


def asarray(op: Any, x: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Array:
    """``x`` itself if it is traced; a constant from anything else."""
    if type(x) is Traced:
        return x if dtype is None else op.ns.astype(x, dtype)
    if isinstance(x, (list, tuple)) and any(type(entry) is Traced for entry in x):
        raise DifferentiationError("asarray of a list of arrays under differentiation: use xp.stack or xp.concat")
    return constant(op.xp.asarray(x, dtype=dtype, device=device, copy=copy), op)


FUNCTIONS = {f.__name__: f for f in (full, full_like, asarray)} | {
    name: _constant(name)
    for name in (
        "zeros", "ones", "empty", "eye", "arange", "linspace", "zeros_like", "ones_like", "empty_like", "from_dlpack",
    )
}  # fmt: skip
