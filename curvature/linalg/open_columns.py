"""The columns of a right-hand side that are still worked on."""

from __future__ import annotations

from typing import Any

Array = Any


class OpenColumns:
    """Which columns are open, and the solutions of those that are not. Columns of zeros are solved at the outset.

    Attributes:
        sizes: (1, open columns), the largest entry of each of them.
    """

    def __init__(self, xp: Any, b: Array, sizes: Array) -> None:
        self._xp, self._b, self._count = xp, b, int(b.shape[1])
        zero = [j for j in range(self._count) if float(sizes[j]) == 0.0]
        self._done: dict[int, Array] = {j: b[:, j : j + 1] for j in zero}
        self._open = [j for j in range(self._count) if j not in self._done]
        self.sizes = self.of(sizes[None, :])

    @property
    def width(self) -> int:
        """How many are open."""
        return len(self._open)

    def of(self, array: Array) -> Array:
        """The open columns of an array (…, K)."""
        return select(self._xp, array, self._open)

    def close(self, finished: Array, x: Array) -> list[int]:
        """Put the ``finished`` (open columns,) aside with their solutions x; the positions of the others."""
        flags = [bool(finished[i]) for i in range(self.width)]
        whole = x * self.sizes
        self._done |= {j: whole[:, i : i + 1] for i, (j, flag) in enumerate(zip(self._open, flags, strict=True)) if flag}
        others = [i for i, flag in enumerate(flags) if not flag]
        self._open, self.sizes = [self._open[i] for i in others], select(self._xp, self.sizes, others)
        return others

    def solution(self, x: Array | None = None) -> Array:
        """All columns (P, K), the open ones from x."""
        done = dict(self._done)
        if x is not None:
            whole = x * self.sizes
            done |= {j: whole[:, i : i + 1] for i, j in enumerate(self._open)}
        if self._count <= 1:
            return done.get(0, self._b)
        return self._xp.concat([done[j] for j in range(self._count)], axis=1)


def select(xp: Any, array: Array, positions: list[int]) -> Array:
    """Entries of the last axis, by slices: no array of indices whose dtype and device might not fit."""
    if len(positions) == array.shape[-1]:
        return array
    return xp.concat([array[..., i : i + 1] for i in positions], axis=-1) if positions else array[..., :0]
