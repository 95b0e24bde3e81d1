"""The whole matrix, dense."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar

import curvature as cv
from curvature.operators import Dense

from .costs import exact_cost
from .layer_blocks import gradients, joined, layer_blocks
from .plan import Form

Array = Any


@dataclass(frozen=True)
class Exact(cv.Approximation):
    """The matrix itself, P × P, for small models: what other approximations are measured against.

    Attributes:
        max_parameters: refuses larger models, rather than filling the memory.
    """

    name: ClassVar[str] = "exact"
    max_parameters: int = 20_000

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return exact_cost(layout)


@cv.estimate.dispatch
def estimate(matrix: cv.Operator, method: Exact, backend: cv.Backend) -> Any:
    """{"matrix": (P, P)} from its products with the identity."""
    _check(matrix, method)
    return _from_products(matrix, backend)


@cv.estimate.dispatch
def estimate_from_gradients(matrix: cv.GaussNewtonMatrix, method: Exact, backend: cv.Backend) -> Generator[Any, Any, Any]:
    """{"matrix": (P, P)}: the Gram matrix of the gradients of each example, or products where these are slow.

    They are slow where a layer is unknown and the backend maps no functions.
    """
    _check(matrix, method)
    mapped = backend.capabilities["vmap"].support is cv.Support.NATIVE
    if not mapped and any(layer.kind == "general" for layer in matrix.problem.structure.layers):
        return _from_products(matrix, backend)
    return (yield lambda evaluation: {"matrix": _gram(matrix, evaluation, backend.xp)})


def _check(matrix: cv.Operator, method: Exact) -> None:
    if not matrix.symmetric:
        raise cv.NotSymmetricError("'exact' is defined for symmetric operators; take (A + A.T) / 2 if that is meant")
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
    """Σ_n Σ_r j_nr j_nrᵀ, j_nr the (weighted) gradient of example n and column r, in chunks."""
    if any(layer.kind == "general" for layer in matrix.problem.structure.layers):
        rows = matrix.example_rows(evaluation)
        return xp.matrix_transpose(rows) @ rows
    values = matrix.layer_values(evaluation)
    if len(values) == 1:
        return _of_one_layer(values[0], xp)
    total: Any = 0.0
    for leaves in gradients(matrix, evaluation, set(range(len(matrix.problem.space.names)))):
        rows = joined(xp, leaves)
        total = total + rows @ xp.matrix_transpose(rows)
    return total


def _of_one_layer(values: Any, xp: Any) -> Array:
    """The block of the only layer, from its inputs and cotangents, in the flat order of the parameters."""
    block = values.layer.block
    (found,) = layer_blocks(values, [(block, Form())], xp).values()

    def ordered(rows: Array) -> Array:
        return joined(xp, dict(zip(block.leaves, block.scatter(xp, rows), strict=True)))

    return ordered(xp.matrix_transpose(ordered(found[0, :, :])))


@cv.build.dispatch
def build(method: Exact, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """The dense operator."""
    return Dense(statistics["matrix"], backend=structure.backend, space=structure.space, symmetric=True)
