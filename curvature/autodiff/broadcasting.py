"""The two linear maps of broadcasting."""

from __future__ import annotations

from typing import Any

Array = Any


def broadcast(op: Any, t: Array, shape: tuple[int, ...]) -> Array:
    """``t`` broadcast to ``shape``, untouched where it has it."""
    return t if t.shape == shape else op.broadcast_to(t, shape=shape)


def unbroadcast(op: Any, g: Array, shape: tuple[int, ...]) -> Array:
    """The transpose of broadcasting: sum ``g`` over the axes along which ``shape`` was stretched."""
    if g.shape == shape:
        return g
    extra = len(g.shape) - len(shape)
    stretched = (i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1)
    axes = (*range(extra), *stretched)
    if axes:
        g = op.sum(g, axis=axes, keepdims=False)
    return g if g.shape == shape else op.reshape(g, shape=shape)
