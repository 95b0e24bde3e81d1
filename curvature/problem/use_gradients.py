"""What a use of a parameter contributes to gradients: in total, example by example, and squared.

Cotangents g are (R, N, T, d_out) and inputs (N, T, …), all positions on one axis. Results are in the row-major order of
``Use.matrix_shape`` unless they say that ``entries`` are resolved.
"""

from __future__ import annotations

from typing import Any

import array_api_compat

from ..autodiff.scatter import scatter_rows
from ..backend import Use

Array = Any


def flat_positions(xp: Any, use: Use, g: Array) -> tuple[Array | None, Array]:
    """Inputs (N, T, …) and cotangents (R, N, T, d_out) with one axis for all positions."""
    cotangents = xp.reshape(g, (g.shape[0], g.shape[1], -1, g.shape[-1]))
    if use.inputs is None:
        return None, cotangents
    n = use.inputs.shape[0]
    if use.kind == "embedding":
        return xp.reshape(use.inputs, (n, -1)), cotangents
    return xp.reshape(use.inputs, (n, -1, use.inputs.shape[-1])), cotangents


def total(xp: Any, use: Use, g: Array) -> Array:
    """Σ_n Σ_t of one column (N, *positions, d_out): the parameter's gradient, flat, of ``matrix_shape``."""
    inputs, cotangents = flat_positions(xp, use, g[None, ...])
    flat = xp.reshape(cotangents, (-1, cotangents.shape[-1]))
    if use.kind == "shift":
        return xp.sum(flat, axis=0)
    if use.kind == "scale":
        return xp.sum(flat * xp.reshape(inputs, flat.shape), axis=0)
    if use.kind == "embedding":
        assert inputs is not None
        rows = scatter_rows(xp)(flat, indices=xp.reshape(inputs, (-1,)), n=use.matrix_shape[0])
        return xp.reshape(rows, (-1,))
    assert inputs is not None
    a = xp.reshape(inputs, (-1, inputs.shape[-1]))
    return xp.reshape(_outer(xp, use, a, flat), (-1,))


def by_example(xp: Any, use: Use, inputs: Array | None, g: Array) -> Array:
    """The gradient of every example and column, (R, N, entries of ``matrix_shape``), from what ``flat_positions`` gives."""
    r, n = int(g.shape[0]), int(g.shape[1])
    if use.kind == "shift":
        return xp.sum(g, axis=2)
    assert inputs is not None
    if use.kind == "scale":
        return xp.sum(g * inputs[None, ...], axis=2)
    if use.kind == "embedding":
        rows, d = use.matrix_shape
        columns = r * n
        places = xp.arange(columns, dtype=inputs.dtype, device=array_api_compat.device(inputs)) * rows
        numbers = xp.reshape(xp.broadcast_to(inputs[None, ...], (r, *inputs.shape)), (columns, -1)) + places[:, None]
        flat = xp.reshape(g, (-1, d))
        return xp.reshape(scatter_rows(xp)(flat, indices=xp.reshape(numbers, (-1,)), n=columns * rows), (r, n, rows * d))
    return xp.reshape(_outer(xp, use, inputs[None, ...], g), (r, n, -1))


def resolved(xp: Any, use: Use, gradient: Array, size: int) -> Array:
    """Gradients (…, entries of ``matrix_shape``) as gradients of the parameter, (…, size): ``entries`` resolved."""
    if use.entries is None:
        return gradient
    lead = tuple(int(n) for n in gradient.shape[:-1])
    columns = xp.matrix_transpose(xp.reshape(gradient, (-1, gradient.shape[-1])))
    added = scatter_rows(xp)(columns, indices=use.entries, n=size)
    return xp.reshape(xp.matrix_transpose(added), (*lead, size))


def squared_rows(xp: Any, numbers: Array, g: Array, rows: int) -> Array:
    """Σ_r Σ_n (gradient of an embedding)², (rows · d,), without one table for each example.

    A row that example n looks up at positions t and t' gets g_t · g_t': for every position, g_t times the sum of the
    cotangents of all positions of the example with the same number.
    """
    same = xp.astype(numbers[:, :, None] == numbers[:, None, :], g.dtype)
    flat, indices = (-1, g.shape[-1]), xp.reshape(numbers, (-1,))
    squares = xp.sum(g * (same[None, ...] @ g), axis=0)
    return xp.reshape(scatter_rows(xp)(xp.reshape(squares, flat), indices=indices, n=rows), (-1,))


def grouped(xp: Any, x: Array, groups: int) -> Array:
    """(…, groups · d) as (…, groups, d)."""
    return xp.reshape(x, (*x.shape[:-1], groups, x.shape[-1] // groups))


def _outer(xp: Any, use: Use, a: Array, g: Array) -> Array:
    """Σ_t of the outer products of inputs (…, T, groups · d_in) and cotangents (…, T, d_out), in the weight's layout."""
    if use.groups == 1:
        left, right = (g, a) if use.transposed else (a, g)
        return xp.matrix_transpose(left) @ right
    # (…, groups, T, d): a product for each group.
    a, g = (_groups_first(xp, grouped(xp, x, use.groups)) for x in (a, g))
    if use.transposed:
        product = xp.matrix_transpose(g) @ a
        return xp.reshape(product, (*product.shape[:-3], -1, product.shape[-1]))
    product = _groups_first(xp, xp.matrix_transpose(a) @ g)  # (…, d_in, groups, d_out / groups)
    return xp.reshape(product, (*product.shape[:-2], -1))


def _groups_first(xp: Any, x: Array) -> Array:
    """The second and the third axis from the right swapped."""
    order = list(range(x.ndim))
    order[-3], order[-2] = order[-2], order[-3]
    return xp.permute_dims(x, tuple(order))
