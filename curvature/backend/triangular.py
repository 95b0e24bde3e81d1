"""Triangular systems from general solves of small blocks: the standard has no triangular solve."""

from __future__ import annotations

from typing import Any

Array = Any

BLOCK = 64
"""Rows that are left to a general solve, whose cost grows as their cube."""


def substitute(xp: Any, a: Array, b: Array, *, lower: bool) -> Array:
    """Solve a x = b for triangular a (…, n, n) and b (…, n, k) by halves: O(n² k), mostly in matrix products.

    The other triangle is not read.
    """
    n = int(a.shape[-1])
    if n <= BLOCK:
        return xp.linalg.solve(xp.tril(a) if lower else xp.triu(a), b)
    half = n // 2
    top, bottom = slice(0, half), slice(half, n)
    if lower:
        first = substitute(xp, a[..., top, top], b[..., top, :], lower=True)
        second = substitute(xp, a[..., bottom, bottom], b[..., bottom, :] - a[..., bottom, top] @ first, lower=True)
    else:
        second = substitute(xp, a[..., bottom, bottom], b[..., bottom, :], lower=False)
        first = substitute(xp, a[..., top, top], b[..., top, :] - a[..., top, bottom] @ second, lower=False)
    return xp.concat([first, second], axis=-2)
