"""A partition of the single entries of the parameters into blocks, whatever arrays they are in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import array_api_compat
import numpy as np

from ..errors import DataError, ShapeError
from ..trees import ParameterSpace, flatten

Array = Any
Tree = Any


@dataclass(frozen=True)
class EntryBlock:
    """The place of a block: its name and how many entries it has."""

    name: str
    size: int


class EntryPartition:
    """A division of all P entries of the parameters into blocks: any entries, in any order.

    ``Partition`` keeps whole arrays together and moves them by reshapes alone; this one is for everything else, at the price
    of one gather for each product.

    Args:
        space: the parameters.
        entries: positions in the flat order, by block name; the vector of a block is in this order.

    Raises:
        DataError: for positions that are no whole numbers in 0 … P - 1, and blocks without entries.
        ShapeError: naming an entry that is missing or repeated.
    """

    def __init__(self, space: ParameterSpace, entries: Mapping[str, Any]) -> None:
        self.space = space
        self.entries = {name: _positions(name, indices, space.size) for name, indices in entries.items()}
        counts = np.zeros(space.size, dtype=np.int64)
        for indices in self.entries.values():
            np.add.at(counts, indices, 1)
        for problem, wrong in (("misses", counts == 0), ("repeats", counts > 1)):
            if np.any(wrong):
                raise ShapeError(
                    f"a partition takes every entry once; this one {problem} {np.sum(wrong)}, such as "
                    f"{entry_name(space, int(np.argmax(wrong)))}"
                )
        # Any: the places of the two kinds of partitions have a name and a size in common, and no class.
        self.blocks: tuple[Any, ...] = tuple(EntryBlock(name, len(indices)) for name, indices in self.entries.items())

    @classmethod
    def from_labels(cls, space: ParameterSpace, labels: Tree) -> EntryPartition:
        """The blocks of entries with equal labels, in the order of the labels, each block in the flat order.

        Args:
            labels: a whole number for every entry: P of them in the flat order, or a params tree of integer arrays.

        Raises:
            ShapeError: if they do not fit the parameters.
            DataError: if they are no whole numbers.
        """
        flat = flat_labels(space, labels)
        names, inverse = np.unique(flat, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        edges = [0, *accumulate(int(n) for n in np.bincount(inverse, minlength=len(names)))]
        return cls(space, {str(name): order[a:b] for name, (a, b) in zip(names, pairwise(edges), strict=True)})

    @cached_property
    def _order(self) -> Any:
        """Flat positions, block after block."""
        return np.concatenate(list(self.entries.values()))

    @cached_property
    def _edges(self) -> list[int]:
        return [0, *accumulate(block.size for block in self.blocks)]

    def gather(self, xp: Any, v: Array) -> list[Array]:
        """Rows of each block, (size, K), from a matrix (P, K)."""
        ordered = _take(xp, v, self._order)
        return [ordered[start:stop, :] for start, stop in pairwise(self._edges)]

    def scatter(self, xp: Any, parts: Sequence[Array]) -> Array:
        """The matrix (P, K) from rows of each block, (size, K): the inverse of ``gather``."""
        joined = parts[0] if len(parts) == 1 else xp.concat(list(parts), axis=0)
        return _take(xp, joined, np.argsort(self._order))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, EntryPartition)
            and self.space == other.space
            and self.blocks == other.blocks
            and np.array_equal(self._order, other._order)
        )

    def __hash__(self) -> int:
        return hash((self.blocks, self._order.tobytes()))

    def __repr__(self) -> str:
        return f"EntryPartition({self.space.size} entries in {len(self.blocks)} blocks)"


def entry_name(space: ParameterSpace, position: int) -> str:
    """How a person finds an entry: ``'w'[1, 2]``."""
    leaf = int(np.searchsorted(np.asarray(space.offsets), position, side="right")) - 1
    index = np.unravel_index(position - space.offsets[leaf], space.shapes[leaf])
    return f"{space.names[leaf]!r}[{', '.join(str(int(i)) for i in index)}]"


def flat_labels(space: ParameterSpace, labels: Tree) -> Any:
    """Labels of all entries as one vector (P,) of int64 on the host: see ``EntryPartition.from_labels``."""
    from ..registry import backend_of

    def on_host(array: Any) -> Any:
        values = array if isinstance(array, np.ndarray | np.generic | int | list | tuple) else backend_of(array).to_numpy(array)
        values = np.asarray(values)
        if values.dtype.kind not in "iu":
            raise DataError(f"labels are whole numbers, got an array of {values.dtype}")
        return values.astype(np.int64)

    bare = hasattr(labels, "shape") and hasattr(labels, "dtype")
    if bare or (isinstance(labels, list | tuple) and all(isinstance(n, int) for n in labels)):
        flat = on_host(labels)
        if flat.shape == (space.size,):
            return flat
        if not bare or flatten(labels)[1] != space.treespec:
            raise ShapeError(
                f"labels have the shape {flat.shape}; give ({space.size},), one for each parameter entry in the flat order, "
                f"or a params tree of integers"
            )
    return np.concatenate([on_host(leaf).reshape(-1) for leaf in space.flatten(labels, what="the labels")])


def _positions(name: str, indices: Any, size: int) -> Any:
    positions = np.asarray(indices)
    if positions.ndim != 1 or len(positions) == 0 or positions.dtype.kind not in "iu":
        raise DataError(f"the entries of block {name!r} are a vector of at least one whole number, got {positions!r:.80}")
    if positions.min() < 0 or positions.max() >= size:
        raise DataError(f"the entries of block {name!r} lie in 0 … {size - 1}, got {positions.min()} … {positions.max()}")
    return positions.astype(np.int64)


def _take(xp: Any, v: Array, positions: Any) -> Array:
    return xp.take(v, xp.asarray(positions, device=array_api_compat.device(v)), axis=0)
