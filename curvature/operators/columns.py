"""Columns of an operator, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Operator

Array = Any

_NUMBERS = 2**24
"""About how many numbers the columns that are made at a time may hold."""


def unit_columns(operator: Operator, start: int, stop: int) -> Array:
    """Columns start … stop - 1 of the identity that the operator may be applied to, (n, stop - start)."""
    xp, device = operator.xp, operator._device
    rows = xp.arange(operator.shape[1], device=device)
    wanted = xp.arange(start, stop, device=device)
    return xp.astype(rows[:, None] == wanted[None, :], operator.dtype)


def column_chunks(operator: Operator) -> Iterator[Array]:
    """All columns of the identity, in chunks that fit the memory."""
    n = operator.shape[1]
    step = max(1, min(n, _NUMBERS // max(1, max(operator.shape))))
    for start in range(0, n, step):
        yield unit_columns(operator, start, min(start + step, n))


def dense_columns(operator: Operator) -> Array:
    """The matrix (m, n) from products with the columns of the identity."""
    parts = [operator._matmat(columns) for columns in column_chunks(operator)]
    if not parts:
        return operator._matmat(unit_columns(operator, 0, 0))
    return parts[0] if len(parts) == 1 else operator.xp.concat(parts, axis=1)
