"""Symmetric matrices as vectors: their lower triangles, with √2 off the diagonal, so that inner products stay the same."""

from __future__ import annotations

from typing import Any

import numpy as np

import curvature as cv

Array = Any


def packed_size(d: int) -> int:
    """Dimension of the symmetric matrices (d, d)."""
    return d * (d + 1) // 2


def packed(backend: cv.Backend, matrices: Array) -> Array:
    """Columns (d (d + 1) / 2, k) of symmetric matrices (k, d, d)."""
    xp, (k, d) = backend.xp, (int(n) for n in matrices.shape[:2])
    rows, columns = np.tril_indices(d)
    places = backend.asarray(rows * d + columns)
    scale = backend.asarray(np.where(rows == columns, 1.0, 2.0**0.5), dtype=matrices.dtype)
    flat = xp.take(xp.reshape(matrices, (k, d * d)), places, axis=1)
    return xp.matrix_transpose(flat * scale[None, :])


def unpacked(backend: cv.Backend, columns: Array, d: int) -> Array:
    """The symmetric matrices (k, d, d) of columns (d (d + 1) / 2, k)."""
    xp, k = backend.xp, int(columns.shape[1])
    i, j = np.tril_indices(d)
    places = np.zeros((d, d), dtype=np.int64)
    places[i, j] = places[j, i] = np.arange(packed_size(d))
    scale = backend.asarray(np.where(i == j, 1.0, 0.5**0.5), dtype=columns.dtype)
    flat = xp.take(columns * scale[:, None], backend.asarray(places.reshape(-1)), axis=0)
    return xp.reshape(xp.matrix_transpose(flat), (k, d, d))
