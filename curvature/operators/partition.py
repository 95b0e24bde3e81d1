"""A partition of the parameters into blocks, and how each block is laid out as one matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import optree

from ..errors import ShapeError
from ..trees import ParameterSpace

Array = Any


@dataclass(frozen=True)
class Block:
    """Some parameters, seen as one matrix: each leaf as a matrix in row-major order, joined along ``axis``.

    A layer s = W a + b is one such matrix: [W | b] (axis 1) where W is stored (d_out, d_in), or W above bᵀ (axis 0)
    where it is stored (d_in, d_out). The vector of a block is this matrix in row-major order.

    Attributes:
        name: name of the block.
        leaves: positions of its parameters in the space.
        shapes: matrix shape of each of them.
        axis: the axis along which they are joined.
    """

    name: str
    leaves: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]
    axis: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the joined matrix."""
        along = sum(shape[self.axis] for shape in self.shapes)
        across = self.shapes[0][1 - self.axis]
        return (along, across) if self.axis == 0 else (across, along)

    @property
    def size(self) -> int:
        """Number of parameters in the block."""
        rows, columns = self.shape
        return rows * columns

    def gather(self, xp: Any, leaves: Sequence[Array]) -> Array:
        """Rows of the block (size, K), from all leaves of a matrix (P, K), each (leaf size, K)."""
        k = leaves[self.leaves[0]].shape[-1]
        if len(self.leaves) == 1:
            return xp.reshape(leaves[self.leaves[0]], (self.size, k))
        pieces = [xp.reshape(leaves[i], (*shape, k)) for i, shape in zip(self.leaves, self.shapes, strict=True)]
        return xp.reshape(xp.concat(pieces, axis=self.axis), (self.size, k))

    def scatter(self, xp: Any, rows: Array) -> list[Array]:
        """The leaves, each (leaf size, K), from rows of the block (size, K)."""
        k = rows.shape[-1]
        if len(self.leaves) == 1:
            return [rows]
        joined = xp.reshape(rows, (*self.shape, k))
        pieces, start = [], 0
        for shape in self.shapes:
            stop = start + shape[self.axis]
            piece = joined[start:stop, :, :] if self.axis == 0 else joined[:, start:stop, :]
            # A bias that is a view would keep the whole block.
            small = shape[0] * shape[1] * 4 < self.size
            pieces.append(xp.reshape(piece * 1.0 if small else piece, (shape[0] * shape[1], k)))
            start = stop
        return pieces


def vector_block(name: str, space: ParameterSpace, leaves: Sequence[int]) -> Block:
    """The block of some parameters one after the other, each raveled."""
    return Block(name, tuple(leaves), tuple((space.sizes[i], 1) for i in leaves), axis=0)


@dataclass(frozen=True)
class Partition:
    """A division of all parameters of a space into blocks.

    Raises:
        ShapeError: naming the parameters that are missing or repeated.
    """

    space: ParameterSpace
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        seen = [leaf for block in self.blocks for leaf in block.leaves]
        names = self.space.names
        repeated = sorted({names[leaf] for leaf in seen if seen.count(leaf) > 1})
        missing = [name for index, name in enumerate(names) if index not in set(seen)]
        if repeated or missing:
            raise ShapeError(f"a partition takes every parameter once; missing: {missing}, repeated: {repeated}")
        for block in self.blocks:
            for leaf, (rows, columns) in zip(block.leaves, block.shapes, strict=True):
                if rows * columns != self.space.sizes[leaf]:
                    raise ShapeError(f"{names[leaf]!r} has {self.space.sizes[leaf]} entries, not {rows} × {columns}")

    @classmethod
    def contiguous(cls, sizes: Sequence[int], names: Sequence[str] | None = None) -> Partition:
        """Blocks of the given sizes one after the other, for operators that stand for no parameters."""
        labels = tuple(names) if names is not None else tuple(str(i) for i in range(len(sizes)))
        placeholders: Any = [0] * len(sizes)
        treespec = optree.tree_structure(placeholders)
        space = ParameterSpace(treespec, labels, tuple((int(size),) for size in sizes))
        return cls(space, tuple(vector_block(label, space, [i]) for i, label in enumerate(labels)))

    def gather(self, xp: Any, v: Array) -> list[Array]:
        """Rows of each block, (size, K), from a matrix (P, K)."""
        offsets = self.space.offsets
        leaves = [v[start:stop, :] for start, stop in pairwise(offsets)]
        return [block.gather(xp, leaves) for block in self.blocks]

    def scatter(self, xp: Any, parts: Iterable[Array]) -> Array:
        """The matrix (P, K) from rows of each block, (size, K): the inverse of ``gather``. Parts are taken one at a time."""
        leaves: dict[int, Array] = {}
        for block, rows in zip(self.blocks, parts, strict=True):
            leaves.update(zip(block.leaves, block.scatter(xp, rows), strict=True))
        ordered = [leaves[index] for index in range(len(self.space.names))]
        return ordered[0] if len(ordered) == 1 else xp.concat(ordered, axis=0)
