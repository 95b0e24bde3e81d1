"""Factored Tikhonov damping, and the operator of K-FAC's statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, Diagonal, Kronecker, KroneckerEigen, is_zero

Array = Any


@dataclass(frozen=True)
class Factored(cv.Approximation):
    """Base of the methods whose statistics are the factors A and G of each layer, F_l ≈ A ⊗ G.

    Attributes:
        damping: how an optimiser's damping λ enters: "factored", (A + π√λ I) ⊗ (G + √λ/π I) with
            π² = (tr A / dim A) / (tr G / dim G) (Martens and Grosse 2015, §6.3), or "exact", A ⊗ G + λ I in the eigenbasis.
            ``operator.solve(v, damping)`` is always exact.
        gamma: factored damping √λ that is part of the operator.
    """

    damping: Literal["factored", "exact"] = "factored"
    gamma: float = 0.0

    def __post_init__(self) -> None:
        if self.damping not in ("factored", "exact"):
            raise cv.DataError(f"{self.name}: damping is 'factored' or 'exact', got {self.damping!r}")
        # An array may have no values yet, inside of a program that is being compiled.
        if isinstance(self.gamma, (int, float)) and not self.gamma >= 0:
            raise cv.DataError(f"{self.name}: gamma is ≥ 0, got {self.gamma}")

    def damped(self, damping: Any) -> tuple[cv.Approximation, Any]:
        if self.damping == "exact":
            return self, damping
        return replace(self, gamma=damping**0.5), 0.0


@cv.build.dispatch
def build(method: Factored, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """A block-diagonal operator of Kronecker products, one for each layer."""
    backend, gamma = structure.backend, method.gamma
    blocks: dict[str, cv.Operator] = {}
    for layer in structure.layers:
        values = statistics[layer.name]
        if "frequencies" in values:
            blocks[layer.name] = _embedding(backend, values["frequencies"], values["G"], gamma)
        elif "A" in values:
            a, g = damped_factors(backend, values["A"], values["G"], gamma)
            order = (g, a) if layer.transposed else (a, g)
            blocks[layer.name] = Kronecker([Dense(factor, backend=backend, symmetric=True) for factor in order])
        else:
            blocks[layer.name] = own_block(backend, values, gamma**2)
    return BlockDiagonal(blocks, partition=structure.partition)


def own_block(backend: cv.Backend, values: dict[str, Array], damping: Any) -> cv.Operator:
    """The operator of a layer that is no Kronecker product, of its dense ``block`` or its ``diagonal``, damped."""
    if "diagonal" in values:
        return Diagonal(values["diagonal"] + damping, backend=backend)
    block = values["block"]
    if not is_zero(damping):
        block = block + damping * backend.xp.eye(block.shape[0], dtype=block.dtype, device=backend.device)
    return Dense(block, backend=backend, symmetric=True)


def own_statistics(values: Any, max_dense: int) -> dict[str, Array]:
    """{"block"} of a layer that is no Kronecker product, or its {"diagonal"} where it is larger than ``max_dense``."""
    if values.layer.block.size > max_dense:
        return {"diagonal": values.squared_gradient()}
    return {"block": values.second_moment()}


def damped_factors(backend: cv.Backend, a: Array, g: Array, gamma: Any) -> tuple[Array, Array]:
    """(A + π γ I, G + γ/π I)."""
    if is_zero(gamma):
        return a, g
    xp = backend.xp
    identity_a = xp.eye(a.shape[0], dtype=a.dtype, device=backend.device)
    identity_g = xp.eye(g.shape[0], dtype=g.dtype, device=backend.device)
    pi = relative_scale(xp, xp.sum(a * identity_a) / a.shape[0], xp.sum(g * identity_g) / g.shape[0])
    return a + (gamma * pi) * identity_a, g + (gamma / pi) * identity_g


def relative_scale(xp: Any, mean_a: Array, mean_g: Array) -> Array:
    """π = √(mean eigenvalue of A / that of G); a layer without gradient (or without input) has no scale of its own: 1."""
    usable = (mean_a > 0) & (mean_g > 0)
    one = xp.ones_like(mean_a)
    return xp.sqrt(xp.where(usable, mean_a, one) / xp.where(usable, mean_g, one))


def _embedding(backend: cv.Backend, frequencies: Array, g: Array, gamma: Any) -> KroneckerEigen:
    """diag(frequencies) ⊗ G: the inputs are unit vectors, so A is diagonal and is kept so."""
    xp = backend.xp
    values, vectors = backend.eigh(g)
    if not is_zero(gamma):
        pi = relative_scale(xp, xp.mean(frequencies), xp.mean(values))
        frequencies, values = frequencies + gamma * pi, values + gamma / pi
    return KroneckerEigen([None, vectors], frequencies[:, None] * values[None, :], backend=backend)
