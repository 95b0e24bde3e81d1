"""Kronecker-factored approximate curvature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, Diagonal, Kronecker, KroneckerEigen

Array = Any


@dataclass(frozen=True)
class KFAC(cv.Approximation):
    """One Kronecker product for each layer s = W ā: F_l = E[ā āᵀ ⊗ g gᵀ] ≈ A ⊗ G, A = E[ā āᵀ], G = E[g gᵀ].

    ā is the layer's input with a 1 appended where it has a bias, g the gradient at its output, over the model's own
    distribution (Fisher), draws from it (Monte Carlo), the data (empirical) or a root of the loss's Hessian (GGN). Exact
    for one example, and for deep linear networks with squared error. An embedding's inputs are unit vectors: A is the
    diagonal matrix of how often each row is used. Convolutions with groups share A, the mean over the groups. Parameters
    that enter in other ways (scales and shifts, mixed ones) get their own dense block, or its diagonal where they are more
    than ``max_dense``.

    Attributes:
        sharing: weights shared over T positions: "expand" treats positions as examples, "reduce" averages inputs and
            sums gradients over them first (Eschenhagen et al. 2023); layers with an affine map only, embeddings and
            convolutions with groups are always expanded.
        damping: how an optimiser's damping λ enters: "factored", (A + π√λ I) ⊗ (G + √λ/π I) with
            π² = (tr A / dim A) / (tr G / dim G) (Martens and Grosse 2015, §6.3), or "exact", A ⊗ G + λ I in the eigenbasis.
            ``operator.solve(v, damping)`` is always exact.
        gamma: factored damping √λ that is part of the operator.
        max_dense: largest layer of another kind that gets a dense block.

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
    """{layer: {"A", "G"}, {"frequencies", "G"} of an embedding, or {"block"} or {"diagonal"} of other layers}."""
    return matrix.layer_average(lambda values: _statistics(values, method, backend.xp), key=method)


def _statistics(values: Any, method: KFAC, xp: Any) -> dict[str, Array]:
    layer = values.layer
    if layer.kind in ("affine", "grouped", "embedding"):
        if method.sharing == "reduce" and layer.kind == "affine":
            return _reduced(values, xp)
        positions, output = values.positions, values.output_gram
        g = output if positions == 1 else output * (1.0 / positions)
        if layer.kind == "embedding":
            return {"frequencies": values.input_frequencies, "G": g}
        return {"A": values.input_gram, "G": g}
    if layer.block.size > method.max_dense:
        return {"diagonal": values.squared_gradient()}
    return {"block": values.second_moment()}


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
        if "frequencies" in values:
            blocks[layer.name] = _embedding(backend, values["frequencies"], values["G"], gamma)
        elif "A" in values:
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
    pi = _pi(xp, xp.sum(a * identity_a) / a.shape[0], xp.sum(g * identity_g) / g.shape[0])
    return a + (gamma * pi) * identity_a, g + (gamma / pi) * identity_g


def _pi(xp: Any, mean_a: Array, mean_g: Array) -> Array:
    """√(mean eigenvalue of A / that of G); a layer without gradient (or without input) has no scale of its own: 1."""
    usable = (mean_a > 0) & (mean_g > 0)
    one = xp.ones_like(mean_a)
    return xp.sqrt(xp.where(usable, mean_a, one) / xp.where(usable, mean_g, one))


def _embedding(backend: cv.Backend, frequencies: Array, g: Array, gamma: float) -> KroneckerEigen:
    """diag(frequencies) ⊗ G: the inputs are unit vectors, so A is diagonal and is kept so."""
    xp = backend.xp
    values, vectors = backend.eigh(g)
    if gamma != 0:
        pi = _pi(xp, xp.mean(frequencies), xp.mean(values))
        frequencies, values = frequencies + gamma * pi, values + gamma / pi
    return KroneckerEigen([None, vectors], frequencies[:, None] * values[None, :], backend=backend)
