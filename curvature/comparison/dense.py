"""The matrix as an array of the host, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..approximation.sweeps import Sweep
from ..matrices import GaussNewtonMatrix
from ..operators import Operator
from ..problem import LayerValues

Array = Any

_NUMBERS = 2**24
"""About how many numbers the gradients that are made at a time may hold."""


def on_host(operator: Operator, array: Array) -> np.ndarray:
    """An array as NumPy's, in float64."""
    return np.asarray(operator.backend.to_numpy(array), dtype=np.float64)


def dense_of(operator: Operator) -> np.ndarray:
    """The matrix (P, P) of a symmetric operator, in float64."""
    if isinstance(operator, GaussNewtonMatrix) and all(x.kind != "general" for x in operator.problem.structure.layers):
        return _symmetric(_of_gradients(operator))
    return _symmetric(on_host(operator, operator.to_dense()))


def _symmetric(dense: Any) -> np.ndarray:
    symmetric: np.ndarray = (dense + dense.T) / 2
    return symmetric


def _of_gradients(matrix: GaussNewtonMatrix) -> np.ndarray:
    """Σ_n Σ_r j_nr j_nrᵀ over the gradients of all examples and columns; the sums over chunks are taken in float64."""
    total = np.zeros(matrix.shape)
    with Sweep(matrix) as sweep:
        for evaluation, share in sweep.evaluations():
            values = matrix.layer_values(evaluation)
            n, r = values[0].examples, values[0].columns
            step = max(1, min(n, _NUMBERS // max(1, matrix.shape[0] * r)))
            for start in range(0, n, step):
                rows = _rows(matrix, values, slice(start, min(start + step, n)))
                total += float(share) * on_host(matrix, matrix.backend.gram(rows))
    return total


def _rows(matrix: GaussNewtonMatrix, values: list[LayerValues], examples: slice) -> Array:
    """The gradients of some examples, (n · R, P)."""
    xp, parts = matrix.xp, []
    for value in values:
        gradients = xp.permute_dims(value.gradients(examples), (1, 0, 2))
        parts.append(xp.reshape(gradients, (gradients.shape[0], -1)))
    return xp.matrix_transpose(matrix.problem.structure.partition.scatter(xp, parts))
