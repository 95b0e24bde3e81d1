"""Targets that are positive numbers: the check of them, and draws that stay so."""

from __future__ import annotations

from typing import Any

from ..backend import namespace
from ..errors import DataError
from .base import first_offender, holds

Array = Any


def require_positive(y: Array, name: str) -> Array:
    """``y`` (N, C) itself.

    Raises:
        DataError: naming the first example with a target that is not positive and finite.
    """
    bad = ~((y > 0) & namespace(y).isfinite(y))
    if holds(bad):
        example = first_offender(bad)
        raise DataError(f"{name}: a target of example {example} is not a positive finite number: {y[example, ...]}")
    return y


def within_unit(uniform: Array) -> Array:
    """Draws from [0, 1] as numbers strictly between: rounding to float32 makes ones of some, and 0 itself may be drawn."""
    xp = namespace(uniform)
    limits = xp.finfo(uniform.dtype)
    return xp.clip(uniform, float(limits.smallest_normal), 1.0 - 0.5 * float(limits.eps))


def representable(y: Array) -> Array:
    """Positive draws that are too small or too large for the dtype at its smallest or largest number."""
    xp = namespace(y)
    limits = xp.finfo(y.dtype)
    return xp.clip(y, float(limits.smallest_normal), float(limits.max))
