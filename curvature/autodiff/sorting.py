"""Sorting and searching: places are locally constant, sorted values are taken from their places."""

from __future__ import annotations

from typing import Any

from .indexing import take_along_axis
from .traced import strip

Array = Any


def nonzero(op: Any, x: Array, /) -> tuple[Array, ...]:
    """Positions of the elements that are not zero, for each axis; locally constant."""
    return tuple(op.constant(index, x) for index in op.xp.nonzero(strip(x)))


def isin(op: Any, x1: Any, x2: Any, /, *, invert: bool = False) -> Array:
    """Whether each element of x1 is in x2; locally constant."""
    return op.constant(op.xp.isin(strip(x1), strip(x2), invert=invert), x1, x2)


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


FUNCTIONS = {f.__name__: f for f in (nonzero, isin, argsort, sort, searchsorted)}
