"""Diagonal blocks of a matrix that is known by its products."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any

import curvature as cv
from curvature.operators import Dense

from .plan import Form, Plan

Array = Any

CHUNK = 2**24
"""About how many numbers a product may hold."""


def blocks_from_products(matrix: cv.Operator, plan: Plan, backend: cv.Backend, max_products: int) -> dict[str, Array]:
    """{place: (B, m, m)}: a product with each column of the identity, some columns at a time; symmetrised.

    Columns of several blocks cannot share a product, for the rows of one block would hold a mixture.

    Raises:
        UnsupportedError: if it takes more than ``max_products``.
    """
    xp, size = backend.xp, matrix.shape[0]
    if isinstance(matrix, Dense):
        return _of_dense(matrix.array, plan, backend)
    if size > max_products:
        raise cv.UnsupportedError(
            f"the blocks of a {type(matrix).__name__} of {size} parameters take {size} products, one for each column, above "
            f"max_products={max_products}; raise it, or take a Fisher-type matrix, whose blocks come from gradients"
        )
    edges = [0, *accumulate(block.size for block in plan.partition.blocks)]
    columns: list[list[Array]] = [[] for _ in plan.forms]
    for start, stop in _steps(size):
        product = plan.partition.gather(xp, matrix @ _unit_vectors(matrix, plan, edges, start, stop))
        for position, (first, last) in enumerate(pairwise(edges)):
            low, high = max(start, first), min(stop, last)
            if low < high:
                rows = product[position][:, low - start : high - start]
                columns[position].append(_own_unit(backend, rows, plan.forms[position], low - first))
    places = zip(plan.partition.blocks, plan.forms, columns, strict=True)
    return {block.name: _stacked(xp, xp.concat(parts, axis=1), form) for block, form, parts in places}


def _steps(size: int) -> Iterator[tuple[int, int]]:
    step = max(1, min(size, CHUNK // max(1, size)))
    for start in range(0, size, step):
        yield start, min(start + step, size)


def _unit_vectors(matrix: cv.Operator, plan: Plan, edges: list[int], start: int, stop: int) -> Array:
    """Columns start … stop of the identity in the order of the blocks, as columns (P, K) of the flat order."""
    xp, device = matrix.xp, matrix.backend.device
    numbers = xp.arange(edges[-1], device=device)
    identity = xp.astype(numbers[:, None] == numbers[None, start:stop], matrix.dtype)
    return plan.partition.scatter(xp, [identity[first:last, :] for first, last in pairwise(edges)])


def _own_unit(backend: cv.Backend, rows: Array, form: Form, first: int) -> Array:
    """(m, K): of each column of a place, number ``first`` and those behind it, the rows of the unit that it belongs to."""
    if form.number == 1:
        return rows
    xp, device = backend.xp, backend.device
    units = form.split(xp, rows)
    b, m, k = (int(n) for n in units.shape)
    number = xp.arange(first, first + k, device=device)
    own = number // m if form.rows else number % b
    mine = xp.astype(xp.arange(b, device=device)[:, None] == own[None, :], rows.dtype)
    return xp.sum(units * mine[:, None, :], axis=0)


def _of_dense(array: Array, plan: Plan, backend: cv.Backend) -> dict[str, Array]:
    """Rows and columns of a dense matrix."""
    xp, found = backend.xp, {}
    rows = plan.partition.gather(xp, array)
    for position, (block, form) in enumerate(zip(plan.partition.blocks, plan.forms, strict=True)):
        square = plan.partition.gather(xp, xp.matrix_transpose(rows[position]))[position]
        found[block.name] = _stacked(xp, _own_unit(backend, square, form, 0), form)
    return found


def _stacked(xp: Any, columns: Array, form: Form) -> Array:
    """(B, m, m), symmetrised, from the columns (m, B · m) of all blocks in the layout of the place."""
    blocks = form.split(xp, xp.matrix_transpose(columns))
    return (blocks + xp.matrix_transpose(blocks)) / 2
