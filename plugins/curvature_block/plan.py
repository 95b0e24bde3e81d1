"""Which blocks there are and how each is kept: what all the kinds of partitions come down to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import curvature as cv
from curvature.operators import Dense, Diagonal, EntryPartition, Operator, Partition, StackedBlocks

Array = Any


@dataclass(frozen=True)
class Form:
    """``number`` blocks of one size in one place: 1 is a dense block, as many as there are rows a diagonal.

    Attributes:
        number: B.
        rows: whether the blocks are the rows (B, m) or the columns (m, B) of the vector of the place seen as a matrix.
    """

    number: int = 1
    rows: bool = True

    def split(self, xp: Any, v: Array) -> Array:
        """(B, m, K) from rows (B · m, K) of the place."""
        k, b = v.shape[-1], self.number
        if self.rows:
            return xp.reshape(v, (b, -1, k))
        return xp.permute_dims(xp.reshape(v, (-1, b, k)), (1, 0, 2))

    def operator(self, array: Array, backend: cv.Backend) -> Operator:
        """The operator of blocks (B, m, m)."""
        if self.number == 1:
            return Dense(array[0, :, :], backend=backend, symmetric=True)
        if array.shape[1] == 1:
            return Diagonal(array[:, 0, 0], backend=backend)
        return StackedBlocks(array, rows=self.rows, backend=backend, symmetric=True)


@dataclass(frozen=True)
class Plan:
    """A partition and the form of each of its places. It can be given as ``partition=`` to ``BlockDiagonalMethod``."""

    partition: Partition | EntryPartition
    forms: tuple[Form, ...]

    @property
    def sizes(self) -> list[int]:
        """m of the blocks in each place."""
        return [block.size // form.number for block, form in zip(self.partition.blocks, self.forms, strict=True)]

    def nbytes(self, itemsize: int) -> int:
        """Bytes that the blocks take."""
        return itemsize * sum(form.number * m**2 for form, m in zip(self.forms, self.sizes, strict=True))

    def build(self, blocks: dict[str, Array], backend: cv.Backend) -> cv.operators.BlockDiagonal:
        """The block-diagonal operator of the blocks (B, m, m) in each place."""
        places = zip(self.partition.blocks, self.forms, strict=True)
        operators = {place.name: form.operator(blocks[place.name], backend) for place, form in places}
        return cv.operators.BlockDiagonal(operators, partition=self.partition)


def check_size(plan: Plan, itemsize: int, *, max_block: int, memory: int | None, finer: Sequence[tuple[str, Plan]]) -> None:
    """Refuse blocks that are too large, before any work.

    Args:
        finer: plans that could be taken instead, by the option that asks for each, from coarse to fine.

    Raises:
        UnsupportedError: naming the largest block, its size and what fits.
    """

    def fits(one: Plan) -> bool:
        return max(one.sizes) <= max_block and (memory is None or one.nbytes(itemsize) <= memory)

    if fits(plan):
        return
    m = max(plan.sizes)
    if m > max_block:
        name = plan.partition.blocks[plan.sizes.index(m)].name
        problem = f"block {name!r} would be {m} × {m} ({_bytes(m**2 * itemsize)}), above max_block={max_block} rows"
    else:
        problem = f"the blocks would take {_bytes(plan.nbytes(itemsize))}, above memory={memory}"
    fitting = [(option, other) for option, other in finer if fits(other)]
    if fitting:
        option, other = fitting[0]
        size, total = max(other.sizes), _bytes(other.nbytes(itemsize))
        remedy = f"{option} fits: its largest block has {size} rows, all of them take {total}"
    else:
        remedy = "the diagonal alone, curvature.approximate(A, 'diagonal'), has one number for each parameter"
    raise cv.UnsupportedError(f"{problem}; {remedy}; or raise {'max_block' if m > max_block else 'memory'}")


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def require_same(plans: Sequence[Array | None]) -> None:
    """Raise unless all statistics are of one partition (an array for each, None where the method alone says which).

    Raises:
        DataError: saying how to fix the partition.
    """
    first = plans[0]
    for other in plans[1:]:
        if (first is None) != (other is None) or (first is not None and not _equal(first, other)):
            raise cv.DataError(
                "statistics of two different partitions do not merge: 'auto' chose others for other data; take that of the "
                "first for all, partition=operator.report.plan"
            )


def _equal(a: Array, b: Array) -> bool:
    return tuple(a.shape) == tuple(b.shape) and bool(cv.backend_of(a).xp.all(a == b))
