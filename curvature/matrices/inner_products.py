"""Inner products of the gradients of single examples in one layer, mostly without the gradients themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..problem.layer_values import LayerValues

Array = Any

_CHUNK = 2**24
"""About how many numbers an intermediate array may hold."""


def example_rows(values: LayerValues, examples: slice = slice(None)) -> Array:
    """Gradients of the examples as the rows of a matrix, (n · R, size), in the layout of the layer's block."""
    gradients = values.gradients(examples)
    n, size, columns = (int(d) for d in gradients.shape)
    xp = values._xp
    return xp.reshape(xp.permute_dims(gradients, (0, 2, 1)), (n * columns, size))


def inner_products(left: LayerValues, right: LayerValues) -> Array:
    """⟨gradient of example n, column r on the left; of m, s on the right⟩ in one layer, (N · R, M · S).

    For s = W a (+ b) the gradient is Σ_t g_t ā_tᵀ, so the product is Σ_t Σ_t' (a_t · a_t' [+ 1]) (g_t · g_t'); for one
    position that is the entrywise product of the two Gram matrices. An embedding's inputs are unit vectors. Gradients
    themselves are formed where that takes fewer operations, and in layers of other kinds.
    """
    if left.layer.kind in ("affine", "embedding") and _positions_are_cheaper(left, right):
        return _by_positions(left, right)
    return _by_gradients(left, right)


def summed_inner_products(left: Sequence[LayerValues], right: Sequence[LayerValues]) -> Array:
    """Inner products of whole gradients, (N · R, M · S): those of all layers added."""
    total: Any = None
    for one, other in zip(left, right, strict=True):
        part = inner_products(one, other)
        total = part if total is None else total + part
    return total


def _sizes(values: LayerValues) -> tuple[int, int, int, int]:
    """(R, N, T, d_out)."""
    r, n, t, d = (int(size) for size in values.cotangents_by_column.shape)
    return r, n, t, d


def _positions_are_cheaper(left: LayerValues, right: LayerValues) -> bool:
    """By the number of multiplications."""
    r, n, t, d = _sizes(left)
    s, m, u, _ = _sizes(right)
    size = left.layer.block.size
    compared = 1 if left.layer.kind == "embedding" else int(left.inputs.shape[2])
    by_positions = n * t * m * u * (compared + r * s * (d + 1))
    by_gradients = (n * r * t + m * s * u + n * r * m * s) * size
    return by_positions <= by_gradients


def _by_positions(left: LayerValues, right: LayerValues) -> Array:
    xp = left._xp
    (r, n, t, _), (s, m, u, _) = _sizes(left), _sizes(right)
    pair = t * u * r * s
    if left is right and left.is_unshared and pair * n * m <= _CHUNK:
        inputs, outputs = left.input_products, left.cotangent_products
        if r == 1:
            return inputs * outputs
        return xp.reshape(xp.reshape(outputs, (n, r, n, r)) * inputs[:, None, :, None], (n * r, n * r))
    width = max(1, min(m, _CHUNK // pair))
    height = max(1, min(n, _CHUNK // (pair * width)))
    columns = []
    for start in range(0, m, width):
        those = slice(start, min(start + width, m))
        pieces = [_product(left, slice(i, min(i + height, n)), right, those) for i in range(0, n, height)]
        columns.append(pieces[0] if len(pieces) == 1 else xp.concat(pieces, axis=0))
    return columns[0] if len(columns) == 1 else xp.concat(columns, axis=1)


def _product(left: LayerValues, these: slice, right: LayerValues, those: slice) -> Array:
    """Σ_t Σ_t' (inputs' products) (cotangents' products) of some examples, (n · R, m · S)."""
    xp = left._xp
    (g, n), (h, m) = _cotangent_rows(left, these), _cotangent_rows(right, those)
    (r, _, t, _), (s, _, u, _) = _sizes(left), _sizes(right)
    outputs = g @ xp.matrix_transpose(h)
    inputs = _input_products(left, these, right, those)
    if t == u == r == s == 1:
        return inputs * outputs
    paired = xp.reshape(outputs, (n, r, t, m, s, u)) * xp.reshape(inputs, (n, 1, t, m, 1, u))
    if not t == u == 1:
        paired = xp.sum(paired, axis=(2, 5))
    return xp.reshape(paired, (n * r, m * s))


def _cotangent_rows(values: LayerValues, examples: slice) -> tuple[Array, int]:
    """Cotangents (n · R · T, d_out), and n."""
    xp, g = values._xp, values.cotangents_by_column[:, examples, ...]
    return xp.reshape(xp.permute_dims(g, (1, 0, 2, 3)), (-1, g.shape[3])), int(g.shape[1])


def _input_products(left: LayerValues, these: slice, right: LayerValues, those: slice) -> Array:
    """ā · ā' of all pairs of positions, (n · T, m · T')."""
    xp, a, b = left._xp, left.inputs[these, ...], right.inputs[those, ...]
    if left.layer.kind == "embedding":
        equal = xp.reshape(a, (-1, 1)) == xp.reshape(b, (1, -1))
        return xp.astype(equal, left.cotangents_by_column.dtype)
    product = xp.reshape(a, (-1, a.shape[2])) @ xp.matrix_transpose(xp.reshape(b, (-1, b.shape[2])))
    return product if left.layer.bias is None else product + 1.0


def _by_gradients(left: LayerValues, right: LayerValues) -> Array:
    """Products of the gradients themselves, some examples at a time."""
    xp, columns, chunks = left._xp, [], _chunks(right)
    for those in chunks:
        rows = example_rows(right, those)
        transposed = xp.matrix_transpose(rows)
        if left is right and len(chunks) == 1:
            return rows @ transposed
        pieces = [example_rows(left, these) @ transposed for these in _chunks(left)]
        columns.append(pieces[0] if len(pieces) == 1 else xp.concat(pieces, axis=0))
    return columns[0] if len(columns) == 1 else xp.concat(columns, axis=1)


def _chunks(values: LayerValues) -> list[slice]:
    """Slices of the examples whose gradients are formed at a time."""
    n = values.examples
    step = max(1, min(n, _CHUNK // max(1, values.layer.block.size * values.columns)))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]
