"""Columns that are added a few at a time."""

from __future__ import annotations

from typing import Any

Array = Any


class Columns:
    """A matrix (n, d) that grows to the right, kept in a few pieces.

    A piece is joined to the one before it once it is as wide: arrays cannot be written to, and to join them each time
    would copy all of them each time. Pieces are stored as rows (·, n), which is half the time of products with few columns.
    """

    def __init__(self, xp: Any, first: Array | None = None) -> None:
        self._xp = xp
        self._pieces: tuple[Array, ...] = () if first is None or first.shape[1] == 0 else (self._rows(first),)

    def _rows(self, columns: Array) -> Array:
        # By way of a vector: a transpose alone, or a copy of it, may lie in memory as the columns did.
        n, width = (int(size) for size in columns.shape)
        return self._xp.reshape(self._xp.reshape(self._xp.matrix_transpose(columns), (n * width,)), (width, n))

    @property
    def width(self) -> int:
        """d."""
        return sum(int(piece.shape[0]) for piece in self._pieces)

    def with_columns(self, new: Array) -> Columns:
        """The same columns and ``new`` (n, K) after them."""
        pieces = [*self._pieces, self._rows(new)] if new.shape[1] else list(self._pieces)
        while len(pieces) > 1 and pieces[-1].shape[0] >= pieces[-2].shape[0]:
            last = pieces.pop()
            pieces[-1] = self._xp.concat([pieces[-1], last], axis=0)
        grown = Columns(self._xp)
        grown._pieces = tuple(pieces)
        return grown

    def without(self, v: Array) -> tuple[Array, list[Array]]:
        """(v - Q C, C) for Q these columns and C = Qᵀ v (d, K), in pieces that are to be joined along the first axis.

        Pieces of few sizes: to join them here would make an array of another size each time, which JAX compiles for.
        """
        xp = self._xp
        rows = xp.matrix_transpose(v)
        parts = [rows @ xp.matrix_transpose(piece) for piece in self._pieces]
        for piece, part in zip(self._pieces, parts, strict=True):
            rows = rows - part @ piece
        return xp.matrix_transpose(rows), [xp.matrix_transpose(part) for part in parts]

    def combine(self, coefficients: Array) -> Array:
        """The columns times coefficients (d, K): (n, K)."""
        rows, total, start = self._xp.matrix_transpose(coefficients), None, 0
        for piece in self._pieces:
            stop = start + int(piece.shape[0])
            part = rows[:, start:stop] @ piece
            total, start = part if total is None else total + part, stop
        return self._xp.matrix_transpose(total)

    def rows(self) -> Array:
        """The columns as the rows of one array, (d, n)."""
        return self._pieces[0] if len(self._pieces) == 1 else self._xp.concat(list(self._pieces), axis=0)

    def all(self) -> Array:
        """The columns as one array (n, d)."""
        return self._xp.matrix_transpose(self.rows())
