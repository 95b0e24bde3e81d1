"""The product of a matrix with its own transpose, of which only half need be computed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

Array = Any

PANELS = 3
SMALLEST = 128
"""Fewer columns are not worth dividing."""


def gram_by(product: Callable[[Array], Array], xp: Any, a: Array, last: Array | None, scale: float) -> Array:
    """``Backend.gram`` by a function ``product`` that gives bᵀ b of a matrix b."""
    b = a if last is None else xp.concat([a, last[:, None]], axis=1)
    if scale == 1.0:
        return product(b)
    # The smaller of the two arrays is multiplied.
    return product(b * scale**0.5) if b.shape[0] < b.shape[1] else product(b) * scale


def gram_by_panels(xp: Any, a: Array) -> Array:
    """aᵀ a (d, d) of a (n, d), two thirds of it computed and the rest transposed: 15 % faster than one product.

    Panel i is A_iᵀ [A_i … A_k], A_i the i-th part of the columns. For libraries whose product of matrices does not notice
    that both are the same array (NumPy's does).
    """
    d = int(a.shape[1])
    if d < SMALLEST:
        return xp.matrix_transpose(a) @ a
    edges = [d * i // PANELS for i in range(PANELS + 1)]
    spans = list(pairwise(edges))
    panels = [xp.matrix_transpose(a[:, start:stop]) @ a[:, start:] for start, stop in spans]
    rows = []
    for i, (start, stop) in enumerate(spans):
        left = [xp.matrix_transpose(panels[j][:, start - edges[j] : stop - edges[j]]) for j in range(i)]
        rows.append(xp.concat([*left, panels[i]], axis=1) if left else panels[i])
    return xp.concat(rows, axis=0)
