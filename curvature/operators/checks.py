"""What operators refuse of their arguments and arrays."""

from __future__ import annotations

from typing import Any

from ..errors import DataError

Array = Any


def check_rank(k: int | None, n: int) -> None:
    """Refuse a number of eigenpairs outside 1 … n."""
    if k is not None and not 1 <= k <= n:
        raise ValueError(f"k must lie in 1 … {n}, got {k}")


def require_floating(xp: Any, array: Array, what: str) -> None:
    """Refuse integers and complex numbers."""
    if not xp.isdtype(array.dtype, "real floating"):
        raise DataError(f"{what} holds real floating numbers, got an array of {array.dtype}")
