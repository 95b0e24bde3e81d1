"""A table of vectors, looked up by integers."""

from __future__ import annotations

from typing import Any

from ..backend import namespace
from ..errors import DataError, ShapeError
from .kernels import kernel

Array = Any


def embedding(indices: Array, weight: Array) -> Array:
    """Rows of a table: y[…, :] = weight[indices[…], :].

    Args:
        indices: integers of any shape (…), from 0 to n - 1. (They are not compared with n, which a compiled function
            could not do: what an index outside does is the library's choice.)
        weight: (n, d).

    Returns:
        (…, d).

    Raises:
        DataError: the indices are no integers.
        ShapeError: the weight is no table.
        MixedBackendError: arrays of two libraries.
    """
    xp = namespace(indices, weight)
    if len(weight.shape) != 2:
        raise ShapeError(f"embedding: the weight has shape {tuple(weight.shape)}, expected (n, d), a row for each index")
    if not xp.isdtype(indices.dtype, "integral"):
        raise DataError(f"embedding: the indices have dtype {indices.dtype}; they choose rows, so they must be integers")
    native = kernel("embedding", weight, indices)
    if native is not None:
        return native(indices, weight)
    rows = xp.take(weight, xp.reshape(indices, (-1,)), axis=0)  # the standard takes by one axis of indices
    return xp.reshape(rows, (*indices.shape, weight.shape[1]))
