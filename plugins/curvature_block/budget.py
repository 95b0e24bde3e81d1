"""Blocks within a memory budget: how fine each has to be, and which are merged. All on the host, with plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class Level:
    """One way to keep a block.

    Attributes:
        kind: "dense", "parameter" (a block for each parameter array), "output-unit" or "diagonal".
        numbers: how many numbers that takes.
        largest: rows of the largest block in it.
    """

    kind: str
    numbers: int
    largest: int


def levels_of(sizes: Sequence[int], units: int) -> list[Level]:
    """The ways to keep a block, from coarse to fine.

    Args:
        sizes: of its parameters.
        units: how many output units it has; 1 if it has none of its own.
    """
    total = sum(sizes)
    levels = [Level("dense", total**2, total)]
    if len(sizes) > 1:
        levels.append(Level("parameter", sum(size**2 for size in sizes), max(sizes)))
    if units > 1:
        levels.append(Level("output-unit", total**2 // units, total // units))
    return [*levels, Level("diagonal", total, 1)]


def select(levels: Sequence[Sequence[Level]], mass: Sequence[float], budget: int, max_block: int) -> list[Level]:
    """The level of each block: those that hold most of ‖F‖² for their size come first, each as coarse as the rest allows.

    Args:
        levels: of each block, from coarse to fine; the budget is known to hold the finest of all.
        mass: ‖F_ii‖² of each block.
        budget: numbers that all blocks together may take.
    """
    chosen = [options[-1] for options in levels]
    left = budget - sum(level.numbers for level in chosen)
    order = sorted(range(len(levels)), key=lambda i: -mass[i] / max(1, levels[i][0].numbers))
    for i in order:
        for level in levels[i]:
            extra = level.numbers - chosen[i].numbers
            if extra <= left and level.largest <= max_block:
                chosen[i] = level
                left -= extra
                break
    return chosen


def merged(
    squared: Array, sizes: Sequence[int], mergeable: Sequence[bool], *, threshold: float, left: int, max_block: int
) -> list[list[int]]:
    """Groups of blocks: the pair of groups with the largest ‖F_ij‖ / √(‖F_ii‖ ‖F_jj‖) is merged, again and again.

    Args:
        squared: ‖F_ij‖² of the blocks, (B, B).
        mergeable: whether a block is kept whole.
        threshold: below it nothing is merged.
        left: numbers that merging may take beyond those of the blocks; a pair that would take more is passed over.
    """
    c, size = np.array(squared, dtype=np.float64), np.array(sizes, dtype=np.int64)
    groups: list[list[int]] = [[i] for i in range(len(size))]
    alive = np.array(mergeable, dtype=bool)
    while True:
        i, j = _most_coupled(c, size, alive, threshold, left, max_block)
        if i < 0:
            break
        left -= 2 * int(size[i] * size[j])
        groups[i] = sorted(groups[i] + groups[j])
        groups[j] = []
        size[i] += size[j]
        alive[j] = False
        c[i, :] += c[j, :]
        c[:, i] += c[:, j]
    return [group for group in groups if group]


def _most_coupled(c: Array, size: Array, alive: Array, threshold: float, left: int, max_block: int) -> tuple[int, int]:
    """The pair of groups to merge next, the smaller number first; (-1, -1) if there is none."""
    mass = np.sqrt(np.maximum(np.diag(c), 0.0))
    scale = mass[:, None] * mass[None, :]
    coupling = np.sqrt(np.divide(c, scale, out=np.zeros_like(c), where=scale > 0))
    allowed = np.triu(alive[:, None] & alive[None, :], 1)
    allowed &= (size[:, None] + size[None, :] <= max_block) & (2 * size[:, None] * size[None, :] <= left)
    coupling = np.where(allowed, coupling, -1.0)
    i, j = (int(n) for n in np.unravel_index(np.argmax(coupling), coupling.shape))
    return (i, j) if coupling[i, j] > threshold else (-1, -1)
