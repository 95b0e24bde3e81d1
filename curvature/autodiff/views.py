"""Parameters seen as other arrays: with the same elements, or with some of them chosen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class View:
    """A parameter, or entries of it, seen as an array.

    Attributes:
        parameter: its path.
        shape: the shape in which it is seen.
        size: how many entries the parameter has.
        split: None if the elements are in the parameter's own order. Otherwise the parameter is, in row-major order,
            a matrix of shape ``split`` that is seen transposed (perhaps with its two axes divided further).
        stacked: the parameter is, in row-major order, a stack (groups, rows, columns) whose matrices are seen transposed.
        entries: None, or a function that gives the positions in the parameter of what is seen, integers of the view's shape.
        rows: what rows of the parameter, a matrix, were taken to make this view (…, d).
    """

    parameter: str
    shape: tuple[int, ...]
    size: int
    split: tuple[int, int] | None = None
    stacked: bool = False
    entries: Callable[[], np.ndarray] | None = None
    rows: Array | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is the whole parameter in its own order."""
        return self.split is None and self.entries is None and not self.stacked

    def reshaped(self, shape: tuple[int, ...]) -> View:
        """The view in another shape."""
        if self.is_plain or (self.split is not None and _divides(shape, self.split[1])):
            return replace(self, shape=shape)
        return self.chosen(lambda entries: np.reshape(entries, shape), shape)

    def permuted(self, axes: tuple[int, ...]) -> View:
        """The view with its axes in another order."""
        n = len(axes)
        if axes == tuple(range(n)):
            return self
        shape, k = tuple(self.shape[a] for a in axes), axes[0]
        if axes == (*range(k, n), *range(k)) and self.entries is None and not self.stacked:
            rows, columns = math.prod(self.shape[:k]), math.prod(self.shape[k:])
            if self.split is None:
                return replace(self, shape=shape, split=(rows, columns))
            if (columns, rows) == self.split:
                return replace(self, shape=shape, split=None)
        if axes == (0, 2, 1) and (self.is_plain or self.stacked):
            return replace(self, shape=shape, stacked=not self.stacked)
        return self.chosen(lambda entries: np.transpose(entries, axes), shape)

    def chosen(self, choose: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...], rows: Array | None = None) -> View:
        """What a function that only moves, repeats or drops elements makes of it: it is applied to their positions, if they
        are ever asked for.
        """
        return View(self.parameter, shape, self.size, entries=lambda: choose(self.positions()), rows=rows)

    def positions(self) -> np.ndarray:
        """Positions in the parameter of all that is seen."""
        if self.entries is not None:
            return self.entries()
        everything = np.arange(self.size)
        if self.split is not None:
            return np.reshape(np.reshape(everything, self.split).T, self.shape)
        if self.stacked:
            groups, columns, rows = self.shape
            return np.transpose(np.reshape(everything, (groups, rows, columns)), (0, 2, 1))
        return np.reshape(everything, self.shape)


def _divides(shape: tuple[int, ...], leading: int) -> bool:
    """Whether some leading axes of ``shape`` hold exactly ``leading`` elements."""
    return any(math.prod(shape[:k]) == leading for k in range(len(shape) + 1))
