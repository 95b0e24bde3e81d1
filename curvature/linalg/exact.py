"""What takes n products and is exact: the map applied to the columns of the identity, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .map import Counted

Array = Any


def identity_blocks(a: Counted) -> Iterator[tuple[int, Array, Array]]:
    """(first column, block E of columns of the identity, A E)."""
    xp, n = a.backend.xp, a.shape[1]
    for start in range(0, n, a.columns):
        width = min(a.columns, n - start)
        block = xp.eye(n, width, k=-start, dtype=a.dtype, device=a.backend.device)
        yield start, block, a._matmat(block)


def exact_diagonal(a: Counted) -> Array:
    """The diagonal (n,), by n products."""
    xp = a.backend.xp
    parts = [xp.sum(block * image, axis=0) for _, block, image in identity_blocks(a)]
    return xp.concat(parts) if parts else xp.zeros((0,), dtype=a.dtype, device=a.backend.device)


def dense(a: Counted) -> Array:
    """The matrix (m, n), by n products."""
    xp = a.backend.xp
    parts = [image for _, _, image in identity_blocks(a)]
    return xp.concat(parts, axis=1) if parts else xp.zeros(a.shape, dtype=a.dtype, device=a.backend.device)
