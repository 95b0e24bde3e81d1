"""Views of a parameter: tensors that hold it, or some of its entries, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class View:
    """A tensor whose entries are entries of one parameter.

    Attributes:
        path: name of the parameter.
        total: how many entries the parameter has.
        shape: shape of the tensor.
        transposed: whether it is the transpose of the parameter as a row-major matrix of shape ``shape[::-1]``.
        gather: None where the tensor is the whole parameter, reshaped or transposed; otherwise makes the positions (in the
            parameter, in row-major order) of its entries, integers of shape ``shape``, on the given device.
        lookup: the rows that were looked up, if it is such a table of rows.
        expanded: whether it repeats what it holds, so that one of its axes may be that of the examples.
    """

    path: str
    total: int
    shape: tuple[int, ...]
    transposed: bool = False
    gather: Callable[[torch.device], Tensor] | None = None
    lookup: Lookup | None = None
    expanded: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is the parameter in row-major order."""
        return self.gather is None and not self.transposed

    @property
    def size(self) -> int:
        """How many entries it has."""
        return math.prod(self.shape)

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Shape of the parameter (of what is gathered from it) as a row-major matrix, of a view with two axes."""
        rows, columns = self.shape
        return (columns, rows) if self.transposed else (rows, columns)

    def positions(self, device: torch.device) -> Tensor:
        """Where in the parameter its entries are, integers of shape ``shape``."""
        if self.gather is not None:
            return self.gather(device)
        numbers = torch.arange(self.size, device=device)
        return numbers.reshape(self.shape[::-1]).T if self.transposed else numbers.reshape(self.shape)

    def entries(self, device: torch.device) -> Tensor | None:
        """``Use.entries`` of this view read in row-major order."""
        return None if self.is_whole else self.positions(device).reshape(-1)

    def is_vector(self, size: int) -> bool:
        """Whether it is the whole parameter as a vector of ``size`` entries along its last axis."""
        return self.is_whole and self.shape[-1:] == (size,) and self.size == size

    @property
    def is_gathered(self) -> bool:
        """Whether its gradient is that of its entries (not so where a padding row is among them)."""
        return self.lookup is None or self.lookup.padding is None

    def is_all(self, positions: Tensor) -> bool:
        """Whether these positions are the whole parameter in row-major order."""
        order = torch.arange(self.total, device=positions.device)
        return positions.numel() == self.total and torch.equal(positions.reshape(-1), order)

    def unrepeated(self, device: torch.device) -> tuple[View, tuple[int, ...]]:
        """The view of what it holds without its repetitions along axes; the other axes, counted from the end."""
        positions = self.positions(device)
        axes = range(positions.ndim)
        repeated = [axis for axis in axes if _is_constant(positions, axis)]
        for axis in repeated:
            positions = positions.narrow(axis, 0, 1)
        own = tuple(axis - positions.ndim for axis in axes if axis not in repeated)
        shape = tuple(positions.shape)
        if self.is_all(positions):
            return View(self.path, self.total, shape), own
        return View(self.path, self.total, shape, gather=lambda device: positions.to(device)), own


def _is_constant(positions: Tensor, axis: int) -> bool:
    if positions.shape[axis] == 1 or positions.stride(axis) == 0:
        return True
    return bool((positions == positions.narrow(axis, 0, 1)).all())


@dataclass(frozen=True, eq=False)
class Lookup:
    """Rows of a table, the tensor having the shape (*numbers.shape, *table.shape[1:]).

    Attributes:
        table: what was looked up in.
        numbers: of the rows, none of them negative.
        padding: number of a row that gets no gradient.
    """

    table: View
    numbers: Tensor
    padding: int | None = None

    @property
    def width(self) -> tuple[int, ...]:
        """Shape of a row."""
        return self.table.shape[1:]

    def positions(self, device: torch.device) -> Tensor:
        """``View.positions`` of the rows."""
        return self.table.positions(device)[self.numbers]


def looked_up(table: View, numbers: Tensor, padding: int | None = None) -> View | None:
    """``table[numbers]``."""
    if not table.shape or numbers.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        return None
    rows = table.shape[0]
    # A copy: whoever made the numbers may write others in their place.
    numbers = numbers.detach().to(torch.int64).remainder(rows)
    lookup = Lookup(table, numbers, None if padding is None else padding % rows)
    return View(
        table.path, table.total, (*numbers.shape, *lookup.width), gather=lookup.positions, lookup=lookup, expanded=table.expanded
    )
