"""Shapes that every layer asks of its parameters; they are known under any compiler."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError

Array = Any


def require_vector(vector: Array | None, length: int, what: str) -> None:
    """Raise ShapeError unless ``vector`` is None or has the shape (length,)."""
    if vector is not None and tuple(vector.shape) != (length,):
        raise ShapeError(f"{what} has shape {tuple(vector.shape)}, expected ({length},)")
