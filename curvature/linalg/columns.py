"""Columns that are added a few at a time."""

from __future__ import annotations

from typing import Any

Array = Any


class Columns:
    """A matrix (n, d) that grows to the right, kept in a few pieces.

    A piece is joined to the one before it once it is as wide: arrays cannot be written to, and to join them each time
    would copy all of them each time.
    """

    def __init__(self, xp: Any, first: Array | None = None) -> None:
        self._xp = xp
        self._pieces: tuple[Array, ...] = () if first is None or first.shape[1] == 0 else (first,)

    @property
    def width(self) -> int:
        """d."""
        return sum(int(piece.shape[1]) for piece in self._pieces)

    def with_columns(self, new: Array) -> Columns:
        """The same columns and ``new`` (n, K) after them."""
        pieces = [*self._pieces, new] if new.shape[1] else list(self._pieces)
        while len(pieces) > 1 and pieces[-1].shape[1] >= pieces[-2].shape[1]:
            last = pieces.pop()
            pieces[-1] = self._xp.concat([pieces[-1], last], axis=1)
        grown = Columns(self._xp)
        grown._pieces = tuple(pieces)
        return grown

    def dot(self, v: Array) -> Array:
        """The transpose of the columns times v: (d, K)."""
        xp = self._xp
        parts = [xp.matrix_transpose(piece) @ v for piece in self._pieces]
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)

    def combine(self, coefficients: Array) -> Array:
        """The columns times coefficients (d, K): (n, K)."""
        total, start = None, 0
        for piece in self._pieces:
            stop = start + int(piece.shape[1])
            part = piece @ coefficients[start:stop, :]
            total, start = part if total is None else total + part, stop
        return total

    def all(self) -> Array:
        """The columns as one array."""
        return self._pieces[0] if len(self._pieces) == 1 else self._xp.concat(list(self._pieces), axis=1)
