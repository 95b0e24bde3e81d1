"""Second moments of the gradients of each example in a Kronecker-factored basis: the eigenvalues of EKFAC."""

from __future__ import annotations

from typing import Any

import curvature as cv
from curvature.autodiff import scatter_rows
from curvature.trees import count

Array = Any
Bases = dict[str, Array]

CHUNK = 2**24
"""About how many numbers the rotated gradients of some examples may hold at a time."""


def scales(values: Any, bases: Bases) -> Array:
    """S_ij = Σ_n Σ_r (Q_Gᵀ dW_nr Q_A)²_ij, in the order of the layer's block: (r_G, r_A) if ``transposed``, else (r_A, r_G).

    dW_nr = Σ_t g_t ā_tᵀ is the gradient of example n and column r, summed over shared positions before it is squared: S is
    the diagonal of Qᵀ F Q. Gradients are made only where positions are shared, some examples at a time.

    Args:
        values: the layer's values.
        bases: Q_A (d_in, r_A) as "basis_A", but for embeddings, and Q_G (d_out, r_G) as "basis_G"; "coordinates_A" (N T, r_A)
            and "coordinates_G" (R N T, r_G) are inputs and cotangents in them where these are known already.
    """
    layer = values.layer
    if layer.kind == "embedding":
        return _of_embedding(values, bases["basis_G"])
    if layer.kind == "grouped":
        return _of_gradients(values, bases)
    return _unshared(values, bases) if values.is_unshared else _shared(values, bases)


def trace(values: Any) -> Array:
    """Σ_n Σ_r ‖dW_nr‖²: the trace of the layer's block."""
    xp = cv.namespace(values.cotangents)
    if values.is_unshared:
        a = values.augmented_inputs[:, 0, :]
        return xp.sum(xp.sum(values.squared_cotangents(), axis=1) * xp.sum(a * a, axis=1))
    return xp.sum(values.squared_gradient())


def _column_first(values: Any) -> Array:
    """g as (R, N, T, d_out)."""
    return cv.namespace(values.cotangents).permute_dims(values.cotangents, (3, 0, 1, 2))


def _unshared(values: Any, bases: Bases) -> Array:
    """One position: (Q_Gᵀ g ā_nᵀ Q_A)² = (Q_Gᵀ g)² (Q_Aᵀ ā)²ᵀ, so S is one product of matrices (…, N) (N, …)."""
    g = _column_first(values)
    xp = cv.namespace(g)
    a, rotated = bases.get("coordinates_A"), bases.get("coordinates_G")
    if a is None:
        a = values.augmented_inputs[:, 0, :] @ bases["basis_A"]
    if rotated is None:
        rotated = g[:, :, 0, :] @ bases["basis_G"]
    rotated = xp.reshape(rotated, (int(g.shape[0]), int(g.shape[1]), -1))
    squared = rotated * rotated
    squared = squared[0, ...] if squared.shape[0] == 1 else xp.sum(squared, axis=0)
    left, right = (squared, a * a) if values.layer.transposed else (a * a, squared)
    return xp.matrix_transpose(left) @ right


def _shared(values: Any, bases: Bases) -> Array:
    g, a = _column_first(values), values.augmented_inputs
    xp = cv.namespace(g)
    columns, n = int(g.shape[0]), int(g.shape[1])
    size = int(bases["basis_A"].shape[1]) * int(bases["basis_G"].shape[1])
    total: Any = None
    for examples in chunks(n, size):
        inputs = a[examples, ...] @ bases["basis_A"]
        for r in range(columns):
            left, right = g[r, examples, ...] @ bases["basis_G"], inputs
            if not values.layer.transposed:
                left, right = right, left
            product = xp.matrix_transpose(left) @ right
            part = xp.sum(product * product, axis=0)
            total = part if total is None else total + part
    return total


def _of_gradients(values: Any, bases: Bases) -> Array:
    """From the gradients themselves: in a convolution with groups each output sees the inputs of its group only."""
    xp, layer = cv.namespace(values.cotangents), values.layer
    n, columns = int(values.cotangents.shape[0]), int(values.cotangents.shape[3])
    left, right = (bases["basis_G"], bases["basis_A"]) if layer.transposed else (bases["basis_A"], bases["basis_G"])
    total: Any = None
    for examples in chunks(n, layer.block.size * columns):
        rows = xp.permute_dims(values.gradients(examples), (0, 2, 1))
        rotated = xp.matrix_transpose(left) @ xp.reshape(rows, (-1, *layer.block.shape)) @ right
        part = xp.sum(rotated * rotated, axis=0)
        total = part if total is None else total + part
    return total


def _of_embedding(values: Any, basis: Array) -> Array:
    """Row v, that of a unit vector: Σ_n Σ_r (Q_Gᵀ Σ_{t: v_t = v} g_t)²; (Σ_t h_t)² = Σ_t h_t Σ_{t'} h_t'."""
    g, numbers = _column_first(values), values.inputs
    xp = cv.namespace(g)
    rotated = g @ basis
    if numbers.shape[1] == 1:
        sums = rotated
    else:
        same = xp.astype(numbers[:, :, None] == numbers[:, None, :], g.dtype)
        sums = same[None, ...] @ rotated
    squares = xp.reshape(xp.sum(rotated * sums, axis=0), (-1, basis.shape[1]))
    return scatter_rows(xp)(squares, indices=xp.reshape(numbers, (-1,)), n=values.layer.block.shapes[0][0])


def chunks(n: int, numbers: int) -> list[slice]:
    """Slices of n examples of which each takes so many numbers."""
    step = max(1, min(n, CHUNK // max(1, numbers)))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def codimension(statistics: dict[str, Array]) -> int:
    """How many directions of a layer its bases do not span."""
    basis = statistics.get("basis_A")
    rows = int(statistics["values_A"].shape[0]) if basis is None else int(basis.shape[0])
    return rows * int(statistics["basis_G"].shape[0]) - count(statistics["scales"])
