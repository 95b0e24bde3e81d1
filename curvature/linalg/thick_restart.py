"""The thick-restart block Lanczos method for eigenpairs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .krylov import Krylov
from .map import Counted
from .wanted import ORDERS, Found, wanted

if TYPE_CHECKING:
    from ..backend import Rng

FRESH_STEPS = 3
"""Steps that a random block is given to show what had been missed."""


def thick_restart(
    a: Counted, k: int, which: str, tolerance: float, limit: int, rng: Rng, *, multiple: bool = True
) -> Iterator[Found]:
    """The states of the iteration, the last of them ``done`` unless ``limit`` products did not do (Wu and Simon 2000).

    A Krylov space of block size K holds at most K copies of an eigenvalue. So where k pairs have converged they are kept,
    a random block orthogonal to them takes the place of the residuals, and the iteration goes on, until such a block has
    brought nothing that is wanted more and the pair next in order is well enough known to stay behind. With ``multiple``
    false it stops at the first convergence.
    """
    n = a.shape[0]
    width = min(8, max(2, -(-k // 4)))
    longest = min(n, max(2 * k + 4 * width, k + 12 * width))
    space = Krylov(a, rng.normal((n, width), dtype=a.dtype), refill=rng)
    key, locked, fresh = ORDERS[which], None, 0
    while a.products + space.width <= limit:
        space.step()
        fresh += 1
        full = space.exhausted or space.dimension + space.width > longest
        if space.dimension < k or not (full or fresh % _stride(k) == 0):
            continue
        values, vectors, residuals = space.eigh()
        order = wanted(values, which)
        top, scale = order[:k], float(np.max(np.abs(values)))
        bound = tolerance * scale
        good = bool(np.all(residuals[top] <= bound))
        same = locked is not None and bool(np.all(np.abs(key(values[top]) - locked) <= 2 * bound))
        behind = fresh >= FRESH_STEPS and _stays_behind(key(values), residuals, order, k, bound)
        done = good and (not multiple or space.exhausted or (same and behind))
        combined = partial(space.combined, vectors[:, top], space.basis)
        yield Found(values[top], residuals[top], scale, combined, done)
        if done:
            return
        if good and not same:
            space.restart(values[top], vectors[:, top])
            space.replace_block(rng, width)
            locked, fresh = key(values[top]), 0
        elif full:
            kept = order[: min(k + (longest - k) // 2, longest - 2 * width)]
            space.restart(values[kept], vectors[:, kept])


def _stride(k: int) -> int:
    """Steps between two looks at the Ritz values, whose cost grows as k³."""
    return 1 + k // 50


def _stays_behind(keys: Any, residuals: Any, order: Any, k: int, bound: float) -> bool:
    """Whether the pair after the k wanted ones is known well enough not to come before the last of them."""
    if len(order) <= k:
        return False
    gap = keys[order[k - 1]] - keys[order[k]]
    return bool(residuals[order[k]] <= max(0.1 * gap, bound))
