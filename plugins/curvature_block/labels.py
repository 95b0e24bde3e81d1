"""A whole number for each entry of the parameters, as an option that can be compared and hashed."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

import curvature as cv
from curvature.operators import EntryPartition
from curvature.trees import flatten, unflatten

Tree = Any


class EntryLabels:
    """Integer labels of all entries: a flat vector (P,) or a params tree, held on the host."""

    def __init__(self, labels: Tree) -> None:
        if isinstance(labels, list | tuple) and all(isinstance(n, int) for n in labels):
            labels = np.asarray(labels)
        leaves, self.treespec = flatten(labels)
        self.leaves = tuple(_on_host(leaf) for leaf in leaves)

    def partition(self, space: cv.ParameterSpace) -> tuple[EntryPartition, list[int]]:
        """(partition, how many blocks each of its places holds): blocks of one size lie in one place, one after the other.

        Raises:
            ShapeError: if the labels do not fit the parameters.
        """
        single = self.single_blocks(space)
        by_size: dict[int, list[str]] = defaultdict(list)
        for name, positions in single.entries.items():
            by_size[len(positions)].append(name)
        places = {
            _listed(names): np.concatenate([single.entries[name] for name in names]) for _, names in sorted(by_size.items())
        }
        return EntryPartition(space, places), [len(names) for _, names in sorted(by_size.items())]

    def single_blocks(self, space: cv.ParameterSpace) -> EntryPartition:
        """A place for each label."""
        return EntryPartition.from_labels(space, unflatten(self.treespec, self.leaves))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, EntryLabels)
            and self.treespec == other.treespec
            and all(np.array_equal(a, b) for a, b in zip(self.leaves, other.leaves, strict=True))
        )

    def __hash__(self) -> int:
        return hash((self.treespec, tuple(leaf.tobytes() for leaf in self.leaves)))

    def __repr__(self) -> str:
        return f"EntryLabels({sum(leaf.size for leaf in self.leaves)} entries)"


def _on_host(leaf: Any) -> Any:
    values = np.asarray(leaf if isinstance(leaf, np.ndarray | np.generic | int) else cv.backend_of(leaf).to_numpy(leaf))
    if values.dtype.kind not in "iu":
        raise cv.DataError(f"the labels of a partition are whole numbers, got an array of {values.dtype}")
    return values.astype(np.int64)


def _listed(names: list[str]) -> str:
    """The labels of the blocks in one place; what is between the first and the last where there are many."""
    return ", ".join(names) if len(names) <= 8 else f"{names[0]}, …, {names[-1]} ({len(names)} blocks)"
