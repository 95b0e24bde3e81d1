"""Shampoo's preconditioner as an approximation of the Fisher-type matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, Kronecker, KroneckerEigen

from .costs import shampoo_cost
from .damping import own_block, own_statistics
from .eigenbasis import eigenbases
from .gradient_moments import left_and_right, matrix_shape

Array = Any


@dataclass(frozen=True)
class Shampoo(cv.Approximation):
    """L ⊗ R / tr L for each parameter array, L = E[dW dWᵀ], R = E[dWᵀ dW], dW the gradient of one example as a matrix.

    It is one step of power iteration, from the identity on either side, towards the nearest Kronecker product of the block
    E[vec dW vec dWᵀ]; it keeps the trace, tr L = tr R, and is exact where that block is a Kronecker product (Morwani et
    al. 2024). The expectation is that of the matrix: over draws (Monte Carlo), the data (empirical) or the columns of a
    root of the Hessian or Fisher (GGN, exact Fisher). A weight is taken with its bias, as [W | b], whatever enters in other
    ways as a matrix with its first axis as rows. Of an embedding L is kept as its diagonal.

    Attributes:
        exponent: 1 for that; 1/2 for (L ⊗ R)^{1/2}, whose inverse square root is the L^{-1/4} dW R^{-1/4} of Gupta et al.
        max_dense: longest side that gets a dense factor; a longer one keeps its diagonal. Vectors have their dense block, or
            its diagonal where they are longer.

    Sources: Gupta, Koren and Singer (2018); Morwani, Shapira, Vyas, Malach, Kakade and Janson (2024).
    """

    name: ClassVar[str] = "shampoo"
    exponent: float = 1.0
    max_dense: int = 8192

    def __post_init__(self) -> None:
        if self.exponent not in (1, 0.5):
            raise cv.DataError(f"shampoo: exponent is 1 or 0.5, got {self.exponent!r}")

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return shampoo_cost(self, layout)


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: Shampoo, backend: cv.Backend) -> Any:
    """{layer: {"L", "R"}}, each (d, d) or the diagonal (d,); {"block"} or {"diagonal"} of vectors."""
    return (yield lambda evaluation: _moments(matrix, evaluation, method.max_dense))


def _moments(matrix: cv.GaussNewtonMatrix, evaluation: Any, largest: int) -> Any:
    space, values = matrix.problem.space, matrix.layer_values(evaluation)
    sizes = (evaluation.batch.size, int(matrix.output_factor(evaluation).shape[2]))

    def statistic(value: Any) -> dict[str, Array]:
        shape = matrix_shape(value.layer, space)
        if shape is None:
            return own_statistics(value, largest)
        left, right = left_and_right(value, shape, largest, sizes)
        return {"L": left, "R": right}

    return evaluation.each_layer(values, statistic, ("shampoo", largest, sizes))


@cv.build.dispatch
def build(method: Shampoo, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """A block-diagonal operator of Kronecker products, one for each matrix."""
    backend = structure.backend
    blocks: dict[str, cv.Operator] = {}
    for layer in structure.layers:
        values = statistics[layer.name]
        if "L" in values:
            blocks[layer.name] = _product(backend, values["L"], values["R"], method.exponent, layer.name)
        else:
            blocks[layer.name] = own_block(backend, values, 0.0)
    return BlockDiagonal(blocks, partition=structure.partition)


def _product(backend: cv.Backend, left: Array, right: Array, exponent: float, name: str) -> cv.Operator:
    """L ⊗ R / tr L or (L ⊗ R)^{1/2}, of matrices or their diagonals."""
    xp = backend.xp
    if exponent == 1:
        trace = xp.sum(left if left.ndim == 1 else Dense(left, backend=backend, symmetric=True).diagonal())
        # A layer without gradient is zero, not 0/0.
        left = left * (1.0 / xp.where(trace > 0, trace, xp.ones_like(trace)))
        if left.ndim == right.ndim == 2:
            return Kronecker([Dense(factor, backend=backend, symmetric=True) for factor in (left, right)])
    dense = {f"the factor {label} of layer {name!r}": f for label, f in (("L", left), ("R", right)) if f.ndim == 2}
    found = iter(eigenbases(backend, dense).values())
    pairs = [(factor, None) if factor.ndim == 1 else next(found) for factor in (left, right)]
    values = pairs[0][0][:, None] * pairs[1][0][None, :]
    if exponent != 1:
        # Of a semidefinite matrix no eigenvalue is negative but by rounding.
        values = xp.sqrt(xp.where(values > 0, values, xp.zeros_like(values)))
    return KroneckerEigen([vectors for _, vectors in pairs], values, backend=backend)
