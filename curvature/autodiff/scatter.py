"""Writing and adding into zeros, which the standard has no function for; nothing else here writes to an array."""

from __future__ import annotations

from typing import Any

import array_api_compat

from .primitive import Forward

Array = Any


def scatter(xp: Any) -> Forward:
    """The function (g, key, shape) -> zeros of that shape, with g at ``key``: slices and integers."""

    def apply(g: Array, *, key: tuple[Any, ...], shape: tuple[int, ...]) -> Array:
        out = xp.zeros(shape, dtype=g.dtype, device=array_api_compat.device(g))
        if hasattr(out, "at"):  # arrays that cannot be written to
            return out.at[key].set(g)
        out[key] = g
        return out

    return apply


def scatter_rows(xp: Any) -> Forward:
    """The function (g, indices, n) -> out with out[j] = Σ over i with indices[i] = j of g[i], out of length n."""
    add_at = getattr(xp.add, "at", None)  # NumPy and CuPy

    def apply(g: Array, *, indices: Array, n: int) -> Array:
        if g.shape[0] == 0 or (not hasattr(g, "at") and not hasattr(g, "index_add") and add_at is None):
            return _gathered(xp, g, indices, n)
        zeros = xp.zeros((n, *g.shape[1:]), dtype=g.dtype, device=array_api_compat.device(g))
        if hasattr(g, "at"):  # arrays that cannot be written to
            return zeros.at[indices].add(g)
        if hasattr(g, "index_add"):  # PyTorch
            return zeros.index_add(0, indices, g)
        assert add_at is not None
        add_at(zeros, indices, g)
        return zeros

    return apply


def _gathered(xp: Any, g: Array, indices: Array, n: int) -> Array:
    """Any library: sort the indices; then the r-th row of every target is a gather, for r up to the most repeats."""
    device = array_api_compat.device(g)
    out = xp.zeros((n, *g.shape[1:]), dtype=g.dtype, device=device)
    m = g.shape[0]
    if m == 0 or n == 0:
        return out
    order = xp.argsort(indices)
    ordered, rows = xp.take(indices, order, axis=0), xp.take(g, order, axis=0)
    targets = xp.arange(n, dtype=ordered.dtype, device=device)
    starts = xp.searchsorted(ordered, targets, side="left")
    counts = xp.searchsorted(ordered, targets, side="right") - starts
    zero = xp.zeros((), dtype=g.dtype, device=device)
    for r in range(int(xp.max(counts))):
        place = xp.where(starts + r < m, starts + r, m - 1)
        present = xp.reshape(counts > r, (n,) + (1,) * (g.ndim - 1))
        out = out + xp.where(present, xp.take(rows, place, axis=0), zero)
    return out
