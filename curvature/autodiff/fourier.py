"""The functions of the fft extension that stay real; the transforms themselves are complex."""

from __future__ import annotations

from typing import Any

from .manipulation import roll
from .reductions import reduced_axes
from .traced import constant

Array = Any


def _shifted(op: Any, x: Array, axes: Any, sign: int) -> Array:
    places = reduced_axes(axes, len(x.shape))
    shifts = tuple(x.shape[a] // 2 if sign > 0 else -(x.shape[a] // 2) for a in places)
    return roll(op, x, shifts, axis=places) if places else x


def fftshift(op: Any, x: Array, /, *, axes: Any = None) -> Array:
    """The zero frequency moved to the middle."""
    return _shifted(op, x, axes, 1)


def ifftshift(op: Any, x: Array, /, *, axes: Any = None) -> Array:
    """The zero frequency moved to the front again."""
    return _shifted(op, x, axes, -1)


def _frequencies(name: str) -> Any:
    def function(op: Any, n: int, /, **kwargs: Any) -> Array:
        return constant(getattr(op.xp.fft, name)(n, **kwargs), op)

    return function


FUNCTIONS = {f.__name__: f for f in (fftshift, ifftshift)} | {name: _frequencies(name) for name in ("fftfreq", "rfftfreq")}
