"""Σ jᵀ A j over the gradients j of all examples and columns: the inner product of a Fisher-type matrix with an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..operators import BlockDiagonal, Diagonal, Kronecker, KroneckerEigen, Operator, Partition, open_function
from ..problem import LayerValues
from .own_forms import quadratic_forms

Array = Any

_CHUNK = 2**24
"""About how many numbers the gradients that are made at a time may hold."""


def quadratic(operator: Operator, values: Sequence[LayerValues], partition: Partition) -> Array:
    """Σ_n Σ_r j_nrᵀ A j_nr by example, (N,), with j_nr the gradient of example n and column r.

    Σ_n of it is <F, A> for F = Σ_n Σ_r j_nr j_nrᵀ. Where A has a block for each layer it is a sum over layers, in which
    Kronecker products need no gradient of a single example.

    Args:
        values: what enters and leaves each layer, in the order of the partition's blocks.
    """
    xp = operator.xp
    if isinstance(operator, Diagonal):
        parts = partition.gather(xp, operator.entries[:, None])
        blocks: list[Operator] = [Diagonal(part[:, 0], backend=operator.backend) for part in parts]
    elif isinstance(operator, BlockDiagonal) and operator.partition == partition:
        blocks = list(operator.blocks.values())
    else:
        return _of_whole_gradients(operator, values, partition)
    total: Any = None
    for block, value in zip(blocks, values, strict=True):
        part = of_layer(block, value)
        total = part if total is None else total + part
    return total


@open_function
def of_layer(block: Operator, values: LayerValues) -> Array:
    """Σ_r j_nrᵀ A j_nr of the gradients of one layer, by example (N,)."""
    xp, parts = block.xp, []
    n, size, r = _counts(values)
    step = max(1, min(n, _CHUNK // max(1, size * r)))
    for start in range(0, n, step):
        columns = _columns(xp, values, slice(start, min(start + step, n)))
        parts.append(_by_example(xp, columns * block._matmat(columns), r))
    return parts[0] if len(parts) == 1 else xp.concat(parts)


@of_layer.dispatch
def _diagonal(block: Diagonal, values: LayerValues) -> Array:
    """Σ_i d_i j_i², for a layer with one position Σ_oi d_oi g_o² a_i²."""
    xp = block.xp
    if not values.is_unshared:
        return of_layer.invoke(Operator, LayerValues)(block, values)  # type: ignore[attr-defined]
    a, g = values.augmented_inputs[:, 0, :], values.squared_cotangents()
    left, right = (g, a * a) if values.layer.transposed else (a * a, g)
    matrix = xp.reshape(block.entries, (left.shape[1], right.shape[1]))
    return xp.sum((left @ matrix) * right, axis=1)


@of_layer.dispatch
def _kronecker(block: Kronecker, values: LayerValues) -> Array:
    """jᵀ (A ⊗ B) j = (aᵀ A a) (gᵀ B g) for j = a ⊗ g, and ⟨A G, G B⟩ of a gradient G with shared positions."""
    if len(block.factors) != 2 or values.layer.kind != "affine":
        return of_layer.invoke(Operator, LayerValues)(block, values)  # type: ignore[attr-defined]
    xp = block.xp
    if not values.is_unshared:
        return _kronecker_shared(block, values)
    a, g = _sides(values)
    of_inputs, of_outputs = (f.array for f in (block.factors[::-1] if values.layer.transposed else block.factors))
    inputs = quadratic_forms(block.backend, a, of_inputs, lambda: values.input_products, values.weights)
    r, n, d = (int(length) for length in g.shape)
    rows = xp.reshape(xp.permute_dims(g, (1, 0, 2)), (n * r, d))
    outputs = quadratic_forms(block.backend, rows, of_outputs, lambda: values.cotangent_products)
    return inputs * (outputs if r == 1 else xp.sum(xp.reshape(outputs, (n, r)), axis=1))


def _kronecker_shared(block: Kronecker, values: LayerValues) -> Array:
    xp, (left, right) = block.xp, (factor.array for factor in block.factors)
    n, size, r = _counts(values)
    step, parts = max(1, min(n, _CHUNK // max(1, size * r))), []
    for start in range(0, n, step):
        gradients = values.gradients(slice(start, min(start + step, n)))
        some = int(gradients.shape[0])
        matrices = xp.reshape(xp.permute_dims(gradients, (0, 2, 1)), (some * r, left.shape[0], right.shape[0]))
        products = xp.sum(xp.sum((left @ matrices) * (matrices @ right), axis=2), axis=1)
        parts.append(xp.sum(xp.reshape(products, (some, r)), axis=1))
    return parts[0] if len(parts) == 1 else xp.concat(parts)


@of_layer.dispatch
def _kronecker_eigen(block: KroneckerEigen, values: LayerValues) -> Array:
    """jᵀ Q S Qᵀ j = Σ_kl S_kl (Q_1ᵀ a)_k² (Q_2ᵀ g)_l², and the complement of the bases."""
    if not _is_rank_one(values, block.sizes):
        return of_layer.invoke(Operator, LayerValues)(block, values)  # type: ignore[attr-defined]
    xp = block.xp
    a, g = _sides(values)
    of_inputs, of_outputs = block.bases[::-1] if values.layer.transposed else block.bases
    rotated_a = a if of_inputs is None else a @ of_inputs
    rotated_g = g if of_outputs is None else g @ of_outputs
    squares = xp.sum(rotated_g * rotated_g, axis=0)
    table = xp.matrix_transpose(block.values) if values.layer.transposed else block.values
    outside: Any = 0.0
    if block.codimension:
        table = table - block.complement
        outside = block.complement * xp.sum(a * a, axis=1) * xp.sum(xp.sum(g * g, axis=2), axis=0)
    return xp.sum(((rotated_a * rotated_a) @ table) * squares, axis=1) + outside


def _is_rank_one(values: LayerValues, sizes: Sequence[int]) -> bool:
    """Whether each gradient is one outer product with factors of these sizes."""
    return values.is_unshared and len(sizes) == 2


def _sides(values: LayerValues) -> tuple[Array, Array]:
    """Inputs (N, d_in) and cotangents (R, N, d_out) of a layer with one position."""
    return values.augmented_inputs[:, 0, :], values.cotangents_by_column[:, :, 0, :]


def _of_whole_gradients(operator: Operator, values: Sequence[LayerValues], partition: Partition) -> Array:
    """For an operator that couples layers."""
    xp, parts = operator.xp, []
    n, _, r = _counts(values[0])
    step = max(1, min(n, _CHUNK // max(1, operator.shape[0] * r)))
    for start in range(0, n, step):
        examples = slice(start, min(start + step, n))
        columns = partition.scatter(xp, [_columns(xp, value, examples) for value in values])
        parts.append(_by_example(xp, columns * operator._matmat(columns), r))
    return parts[0] if len(parts) == 1 else xp.concat(parts)


def _counts(values: LayerValues) -> tuple[int, int, int]:
    """(N, size of the layer's block, R)."""
    return values.examples, values.layer.block.size, values.columns


def _columns(xp: Any, values: LayerValues, examples: slice) -> Array:
    """Gradients of some examples as columns, example by example: (size, n · R)."""
    gradients = values.gradients(examples)
    return xp.reshape(xp.permute_dims(gradients, (1, 0, 2)), (gradients.shape[1], -1))


def _by_example(xp: Any, products: Array, r: int) -> Array:
    """Sums over rows, and over the columns of each example."""
    return xp.sum(xp.reshape(xp.sum(products, axis=0), (-1, r)), axis=1)
