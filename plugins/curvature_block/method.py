"""The whole matrix, dense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import curvature as cv
from curvature.operators import Dense

Array = Any


@dataclass(frozen=True)
class Exact(cv.Approximation):
    """The matrix itself, P × P, for small models: what other approximations are measured against.

    Attributes:
        max_parameters: refuses larger models, rather than filling the memory.
    """

    name: ClassVar[str] = "exact"
    max_parameters: int = 20_000


@cv.estimate.dispatch
def estimate(matrix: cv.Operator, method: Exact, backend: cv.Backend) -> Any:
    """{"matrix": (P, P)} from its products with the identity."""
    _check_size(matrix, method)
    return _from_products(matrix, backend)


@cv.estimate.dispatch
def estimate_from_gradients(matrix: cv.GaussNewtonMatrix, method: Exact, backend: cv.Backend) -> Any:
    """{"matrix": (P, P)}: the Gram matrix of the gradients of each example where all layers are known, else products."""
    _check_size(matrix, method)
    if any(layer.kind == "general" for layer in matrix.problem.structure.layers):
        return _from_products(matrix, backend)
    return matrix.average(lambda evaluation: {"matrix": _gram(matrix, evaluation, backend.xp)})


def _check_size(matrix: cv.Operator, method: Exact) -> None:
    size = matrix.shape[0]
    if size > method.max_parameters:
        raise cv.UnsupportedError(
            f"'exact' would store a {size} × {size} matrix ({size**2 * 8 / 1e9:.1f} GB in float64); take 'kfac' or 'diagonal', "
            f"or raise max_parameters (now {method.max_parameters})"
        )


def _from_products(matrix: cv.Operator, backend: cv.Backend) -> Any:
    dense = matrix.to_dense()
    # Products of a symmetric matrix are symmetric to rounding only.
    return {"matrix": (dense + backend.xp.matrix_transpose(dense)) / 2}


def _gram(matrix: cv.GaussNewtonMatrix, evaluation: Any, xp: Any) -> Array:
    """Σ_n Σ_r j_nr j_nrᵀ, j_nr the (weighted) gradient of example n and column r, in chunks of about 2^25 numbers."""
    values = evaluation.layers(matrix.output_factor(evaluation))
    partition = matrix.problem.structure.partition
    n, size = evaluation.batch.size, matrix.shape[0]
    columns = max(1, int(evaluation.outputs.shape[1]))
    chunk = max(1, 2**25 // (size * columns))
    total: Any = 0.0
    for start in range(0, n, chunk):
        examples = slice(start, min(start + chunk, n))
        parts = []
        for value in values:
            gradients = value.gradients(examples)
            parts.append(xp.reshape(xp.permute_dims(gradients, (1, 0, 2)), (gradients.shape[1], -1)))
        rows = partition.scatter(xp, parts)
        total = total + rows @ xp.matrix_transpose(rows)
    return total


@cv.build.dispatch
def build(method: Exact, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """The dense operator."""
    return Dense(statistics["matrix"], backend=structure.backend, space=structure.space, symmetric=True)
