"""Blocks within one layer, from its inputs and output cotangents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from curvature.operators import Block

from .plan import Form

Array = Any
Place = tuple[Block, Form]

CHUNK = 2**24
"""About how many numbers are made at a time."""


def slices(n: int, numbers: int) -> list[slice]:
    """The examples in parts, so many that each of them may take ``numbers`` numbers."""
    step = max(1, min(n, CHUNK // max(1, numbers)))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def layer_blocks(values: Any, places: Sequence[Place], xp: Any) -> dict[str, Array]:
    """{place: Σ_n Σ_r of the outer products of its units' gradients, (B, m, m)} of the places that lie in one layer."""
    found, left = {}, []
    for place in places:
        block, form = place
        whole = block == values.layer.block
        if whole and form.number == block.size:
            found[block.name] = xp.reshape(values.squared_gradient(), (-1, 1, 1))
        elif values.is_unshared and (whole or len(block.leaves) == 1) and (form.number > 1 or values.cotangents.shape[3] > 1):
            found[block.name] = _unshared(values, block, form, xp)
        elif whole and form.number == 1:
            found[block.name] = values.second_moment()[None, :, :]
        else:
            left.append(place)
    return found | _from_gradients(values, left, xp) if left else found


def _from_gradients(values: Any, places: Sequence[Place], xp: Any) -> dict[str, Array]:
    """From gradients of each example, in chunks."""
    n, _, _, columns = values.cotangents.shape
    totals: dict[str, Array] = {}
    for examples in slices(int(n), values.layer.block.size * int(columns)):
        accumulate(totals, places, leaf_rows(values, examples, xp), xp)
    return totals


def leaf_rows(values: Any, examples: slice, xp: Any) -> dict[int, Array]:
    """{position of the parameter: gradients of the examples and columns, (size, N R)}."""
    block: Block = values.layer.block
    gradients = values.gradients(examples)
    rows = xp.reshape(xp.permute_dims(gradients, (1, 0, 2)), (block.size, -1))
    return dict(zip(block.leaves, block.scatter(xp, rows), strict=True))


def gradients(matrix: Any, evaluation: Any, wanted: set[int]) -> Iterator[dict[int, Array]]:
    """{position of the parameter: gradients (size, n R) of some examples}, of the layers that own the wanted parameters."""
    touched = [value for value in matrix.layer_values(evaluation) if wanted & set(value.layer.block.leaves)]
    columns = int(matrix.output_factor(evaluation).shape[2])
    numbers = sum(value.layer.block.size for value in touched) * columns
    for examples in slices(evaluation.batch.size, numbers) if touched else []:
        leaves: dict[int, Array] = {}
        for value in touched:
            leaves |= leaf_rows(value, examples, matrix.xp)
        yield leaves


def joined(xp: Any, leaves: dict[int, Array]) -> Array:
    """Rows of all parameters, (P, K), in the flat order."""
    rows = [leaves[leaf] for leaf in range(len(leaves))]
    return rows[0] if len(rows) == 1 else xp.concat(rows, axis=0)


def accumulate(totals: dict[str, Array], places: Sequence[Place], leaves: dict[int, Array], xp: Any) -> None:
    """Add the products of some gradients to the totals of the places."""
    for block, form in places:
        units = form.split(xp, block.gather(xp, leaves))  # type: ignore[arg-type]  # it takes what it needs by position
        add_to(totals, block.name, units @ xp.matrix_transpose(units))


def add_to(totals: dict[str, Array], name: str, part: Array) -> None:
    """totals[name] += part, from nothing."""
    totals[name] = totals[name] + part if name in totals else part


def _unshared(values: Any, block: Block, form: Form, xp: Any) -> Array:
    """Where every example passes an affine layer once its gradient is g āᵀ, and none need be formed.

    A unit i has the block Σ_n (Σ_r g_nri²) ā_n ā_nᵀ, a whole layer Σ_n (Σ_r g_nr g_nrᵀ) ⊗ ā_n ā_nᵀ: a product of two matrices
    whose rows are the examples, R times cheaper than the products of the gradients.
    """
    layer = values.layer
    if len(block.leaves) == 1 and block.leaves[0] != layer.block.leaves[0]:  # the bias alone
        return values.output_gram[None, :, :]
    inputs = values.inputs if len(block.leaves) == 1 else values.augmented_inputs
    a, g = inputs[:, 0, :], values.cotangents[:, 0, :, :]
    n, m, d = int(a.shape[0]), int(a.shape[1]), int(g.shape[1])
    if form.number > 1:
        squares = values.squared_cotangents()
        total = _contracted(xp, slices(n, m * m), lambda part: squares[part, :], lambda part: _outer(xp, a[part, :]))
        return xp.reshape(total, (d, m, m))

    def outputs(part: slice) -> Array:
        some = g[part, :, :]
        return xp.reshape(some @ xp.matrix_transpose(some), (-1, d * d))

    total = _contracted(xp, slices(n, m * m + d * d), outputs, lambda part: _outer(xp, a[part, :]))
    order = (0, 2, 1, 3) if layer.transposed else (2, 0, 3, 1)
    return xp.reshape(xp.permute_dims(xp.reshape(total, (d, d, m, m)), order), (1, d * m, d * m))


def _outer(xp: Any, a: Array) -> Array:
    """a aᵀ of each row, flat: (N, m²)."""
    return xp.reshape(a[:, :, None] * a[:, None, :], (a.shape[0], -1))


def _contracted(xp: Any, parts: Sequence[slice], left: Any, right: Any) -> Array:
    """Σ leftᵀ right over the parts of the examples."""
    total: Any = None
    for part in parts:
        product = xp.matrix_transpose(left(part)) @ right(part)
        total = product if total is None else total + product
    return total
