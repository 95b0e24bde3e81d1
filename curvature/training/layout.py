"""The order in memory of an array's axes.

It is no part of an array's value. But a matrix product may round otherwise for a transposed operand, so a run that goes on bit
for bit needs its arrays to lie as they lay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import namespace

Array = Any


def axes_of(leaf: Any) -> list[int] | None:
    """The axes from the slowest to the fastest; None for those in row-major order and for what has no strides."""
    stride = getattr(leaf, "stride", None)
    strides = stride() if callable(stride) else getattr(leaf, "strides", None)
    if strides is None:
        return None
    axes = sorted(range(len(strides)), key=lambda axis: -abs(strides[axis]))
    return None if axes == sorted(axes) else axes


def in_memory_order(array: Array, axes: Sequence[int] | None) -> Array:
    """A view of the array that is in row-major order."""
    return array if axes is None else namespace(array).permute_dims(array, tuple(axes))


def from_memory_order(array: Array, axes: Sequence[int] | None) -> Array:
    """The array of which ``array`` is that view."""
    if axes is None:
        return array
    inverse = sorted(range(len(axes)), key=lambda position: axes[position])
    return namespace(array).permute_dims(array, tuple(inverse))
