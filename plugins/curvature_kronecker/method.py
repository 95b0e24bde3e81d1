"""Kronecker-factored approximate curvature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, Diagonal, Kronecker

Array = Any


@dataclass(frozen=True)
class KFAC(cv.Approximation):
    """One Kronecker product for each layer s = W ā: F_l = E[ā āᵀ ⊗ g gᵀ] ≈ A ⊗ G, A = E[ā āᵀ], G = E[g gᵀ].

    ā is the layer's input with a 1 appended where it has a bias, g the gradient at its output, over the model's own
    distribution (Fisher), draws from it (Monte Carlo), the data (empirical) or a root of the loss's Hessian (GGN). Exact
    for one example, and for deep linear networks with squared error. Parameters that enter in other ways get their own
    dense block, or its diagonal where they are more than ``max_dense``.

    Attributes:
        sharing: weights shared over T positions: "expand" treats positions as examples, "reduce" averages inputs and
            sums gradients over them first (Eschenhagen et al. 2023).
        damping: how an optimiser's damping λ enters: "factored", (A + π√λ I) ⊗ (G + √λ/π I) with
            π² = (tr A / dim A) / (tr G / dim G) (Martens and Grosse 2015, §6.3), or "exact", A ⊗ G + λ I in the eigenbasis.
            ``operator.solve(v, damping)`` is always exact.
        gamma: factored damping √λ that is part of the operator.
        max_dense: largest parameter array outside of layers that gets a dense block.

    Source: Martens and Grosse (2015).
    """

    name: ClassVar[str] = "kfac"
    sharing: Literal["expand", "reduce"] = "expand"
    damping: Literal["factored", "exact"] = "factored"
    gamma: float = 0.0
    max_dense: int = 1000

    def __post_init__(self) -> None:
        if self.sharing not in ("expand", "reduce"):
            raise cv.DataError(f"kfac: sharing is 'expand' or 'reduce', got {self.sharing!r}")
        if self.damping not in ("factored", "exact"):
            raise cv.DataError(f"kfac: damping is 'factored' or 'exact', got {self.damping!r}")
        if not self.gamma >= 0:
            raise cv.DataError(f"kfac: gamma is ≥ 0, got {self.gamma}")

    def damped(self, damping: Any) -> tuple[cv.Approximation, Any]:
        if self.damping == "exact":
            return self, damping
        return replace(self, gamma=damping**0.5), 0.0


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: KFAC, backend: cv.Backend) -> Any:
    """{layer: {"A", "G"}, or {"block"} or {"diagonal"} outside of affine layers}."""
    return matrix.layer_average(lambda values: _statistics(values, method, backend.xp))


def _statistics(values: Any, method: KFAC, xp: Any) -> dict[str, Array]:
    layer = values.layer
    if layer.kind == "affine":
        if method.sharing == "reduce":
            return _reduced(values, xp)
        positions = values.inputs.shape[1]
        output = values.output_gram
        return {"A": values.input_gram, "G": output if positions == 1 else output * (1.0 / positions)}
    if layer.block.size > method.max_dense:
        return {"diagonal": values.squared_gradient()}
    rows = xp.matrix_transpose(values.gradients())
    return {"block": values.gram(rows)}


def _reduced(values: Any, xp: Any) -> dict[str, Array]:
    mean_input = xp.mean(values.augmented_inputs, axis=1, keepdims=True)
    summed = xp.sum(values.cotangents, axis=1)
    return {"A": values.weighted_gram(mean_input), "G": values.gram(xp.matrix_transpose(summed))}


@cv.build.dispatch
def build(method: KFAC, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """A block-diagonal operator of Kronecker products, one for each layer."""
    backend, gamma = structure.backend, method.gamma
    blocks: dict[str, cv.Operator] = {}
    for layer in structure.layers:
        values = statistics[layer.name]
        if "A" in values:
            a, g = _damped(backend, values["A"], values["G"], gamma)
            order = (g, a) if layer.transposed else (a, g)
            blocks[layer.name] = Kronecker([Dense(factor, backend=backend, symmetric=True) for factor in order])
        elif "block" in values:
            block = Dense(values["block"], backend=backend, symmetric=True)
            blocks[layer.name] = block if gamma == 0 else Dense(block._damped(gamma**2), backend=backend, symmetric=True)
        else:
            blocks[layer.name] = Diagonal(values["diagonal"] + gamma**2, backend=backend)
    return BlockDiagonal(blocks, partition=structure.partition)


def _damped(backend: cv.Backend, a: Array, g: Array, gamma: float) -> tuple[Array, Array]:
    """(A + π γ I, G + γ/π I)."""
    if gamma == 0:
        return a, g
    xp = backend.xp
    identity_a = xp.eye(a.shape[0], dtype=a.dtype, device=backend.device)
    identity_g = xp.eye(g.shape[0], dtype=g.dtype, device=backend.device)
    mean_a = xp.sum(a * identity_a) / a.shape[0]
    mean_g = xp.sum(g * identity_g) / g.shape[0]
    # A layer without gradient (or without input) has no scale of its own: π = 1.
    usable = (mean_a > 0) & (mean_g > 0)
    one = xp.ones_like(mean_a)
    pi = xp.sqrt(xp.where(usable, mean_a, one) / xp.where(usable, mean_g, one))
    return a + (gamma * pi) * identity_a, g + (gamma / pi) * identity_g
