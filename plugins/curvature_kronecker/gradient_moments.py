"""Second moments of gradients as matrices: E[dW dWᵀ] and E[dWᵀ dW]."""

from __future__ import annotations

import math
from typing import Any

import curvature as cv

from .scales import chunks

Array = Any


def matrix_shape(layer: Any, space: Any) -> tuple[int, int] | None:
    """Rows and columns of a layer's parameters as one matrix, or None if they are a vector.

    The layout [W | b] of an affine layer; the first axis and all others of an array that enters in another way.
    """
    if layer.kind in ("affine", "grouped", "embedding"):
        rows, columns = layer.block.shape
        return int(rows), int(columns)
    if len(layer.block.leaves) != 1:
        return None
    shape = space.shapes[layer.block.leaves[0]]
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else None


def left_and_right(values: Any, shape: tuple[int, int], largest: int, sizes: tuple[int, int]) -> tuple[Array, Array]:
    """L = Σ_n Σ_r dW dWᵀ (rows, rows) and R = Σ_n Σ_r dWᵀ dW (columns, columns), or the diagonal of one that is larger.

    dW is the gradient of example n and column r, summed over shared positions. Without these, it is g āᵀ and never made.

    Args:
        sizes: numbers of examples and columns.
    """
    if values.layer.kind == "embedding":
        return _of_embedding(values, largest)
    if values.is_unshared:
        g, a = values.cotangents[:, 0, :, :], values.augmented_inputs[:, 0, :]
        xp = cv.namespace(a)
        g = xp.matrix_transpose(g)
        lengths = xp.sqrt(xp.sum(a * a, axis=1))[:, None, None]
        weights = xp.sqrt(xp.sum(xp.sum(g * g, axis=2), axis=1))[:, None]
        moments = (_moment(xp, values, g * lengths, largest), _moment(xp, values, (a * weights)[:, None, :], largest))
        return moments if values.layer.transposed else moments[::-1]
    return _of_gradients(values, shape, largest, sizes)


def _moment(xp: Any, values: Any, rows: Array, largest: int) -> Array:
    """Σ x xᵀ of all vectors x on the last axis of (N, M, d), or its diagonal."""
    if rows.shape[-1] <= largest:
        return values.gram(rows)
    return xp.sum(xp.sum(rows * rows, axis=1), axis=0)


def _of_gradients(values: Any, shape: tuple[int, int], largest: int, sizes: tuple[int, int]) -> tuple[Array, Array]:
    total: Any = None
    n, columns = sizes
    for examples in chunks(n, math.prod(shape) * columns):
        gradients = values.gradients(examples)
        xp = cv.namespace(gradients)
        matrices = xp.reshape(xp.permute_dims(gradients, (0, 2, 1)), (-1, *shape))
        part = [_moment(xp, values, m, largest) for m in (xp.matrix_transpose(matrices), matrices)]
        total = part if total is None else [a + b for a, b in zip(total, part, strict=True)]
    left, right = total
    return left, right


def _of_embedding(values: Any, largest: int) -> tuple[Array, Array]:
    """The diagonal of L alone; R from Σ_t Σ_t' g_t g_t'ᵀ over positions of an example that look up the same row."""
    g, numbers = values.cotangents, values.inputs
    xp = cv.namespace(g)
    rows, columns = values.layer.block.shape
    left = xp.sum(xp.reshape(values.squared_gradient(), (rows, columns)), axis=1)
    g = xp.permute_dims(g, (3, 0, 1, 2))
    same = xp.astype(numbers[:, :, None] == numbers[:, None, :], g.dtype)
    sums = same[None, ...] @ g
    if columns > largest:
        return left, xp.sum(xp.reshape(g * sums, (-1, columns)), axis=0)
    right = xp.matrix_transpose(xp.reshape(g, (-1, columns))) @ xp.reshape(sums, (-1, columns))
    return left, (right + xp.matrix_transpose(right)) * 0.5
