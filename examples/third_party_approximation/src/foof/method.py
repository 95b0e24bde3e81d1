"""FOOF: the curvature of a layer is that of its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import curvature as cv
from curvature.operators import BlockDiagonal, Diagonal, KroneckerEigen

KINDS = ("affine", "grouped")
"""Layers that are linear maps: dense ones and convolutions, with groups as well."""


@dataclass(frozen=True)
class FOOF(cv.Approximation):
    """K-FAC without the gradients' covariance: F_l ≈ A ⊗ c I, A = E[ā āᵀ], c = E‖g‖² / d_out.

    ā is the layer's input with a 1 appended where it has a bias, g the gradient at its output. Solving with it is gradient
    descent on the layer's outputs, which is what makes K-FAC work (Benzing 2022, "Gradient Descent on Neurons and its Link to
    Approximate Second-Order Optimization"). The paper leaves the scale c to the learning rate; here it is that of the Fisher, so
    that damping means what it means for every other approximation. Exact where E[g gᵀ] is a multiple of the identity for every
    example, such as linear regression with squared error.

    With weights shared over positions, positions count as examples. Parameters that enter in other ways than as a linear map
    get their diagonal.
    """

    name: ClassVar[str] = "foof"

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        if not layout.is_gauss_newton:
            return None
        statistics, eigenvectors, solve, numbers = layout.layer_values, 0.0, 0.0, 0
        for layer in layout.layers:
            if layer.kind not in KINDS:
                statistics += layout.elementwise(layout.rows * layer.size)
                solve += layout.elementwise(3 * layer.size)
                numbers += layer.size
                continue
            d, rows = layer.d_in, layout.examples * layer.positions
            statistics += layout.gram(rows, d) + layout.elementwise(rows * layout.columns * layer.d_out)
            eigenvectors += layout.eigh(d)
            solve += 4.0 * d * d * layer.d_out + layout.elementwise(d * layer.d_out)
            numbers += d * d + d * layer.d_out
        return cv.Cost(statistics, eigenvectors, solve, layout.nbytes(numbers), detail=cv.Detail.FACTORS)


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: FOOF, backend: cv.Backend):
    return (yield matrix.of_layers(statistics_of, key="foof"))


def statistics_of(values):
    """{"A": (d_in, d_in), "c": ()} of a linear map, {"diagonal": (size,)} of any other layer."""
    if values.layer.kind not in KINDS:
        return {"diagonal": values.squared_gradient()}
    g = values.cotangents_by_column  # (R, N, T, d_out); the weights of the examples are in it
    squares = cv.namespace(g).sum(g * g)
    return {"A": values.input_gram, "c": squares * (1.0 / (values.positions * g.shape[-1]))}


@cv.build.dispatch
def build(method: FOOF, statistics: dict, structure: cv.Structure):
    blocks = {layer.name: block_of(layer, statistics[layer.name], structure.backend) for layer in structure.layers}
    return BlockDiagonal(blocks, partition=structure.partition)


def block_of(layer, statistics, backend):
    """A ⊗ c I in the eigenbasis of A: the identity is never formed."""
    if "diagonal" in statistics:
        return Diagonal(statistics["diagonal"], backend=backend)
    values, basis = backend.eigh(statistics["A"])
    d_out = layer.block.shape[0] if layer.transposed else layer.block.shape[1]
    scales = backend.xp.broadcast_to((values * statistics["c"])[:, None], (values.shape[0], d_out))
    if layer.transposed:  # the block is (d_out, d_in), otherwise (d_in, d_out)
        return KroneckerEigen([None, basis], backend.xp.matrix_transpose(scales), backend=backend)
    return KroneckerEigen([basis, None], scales, backend=backend)
