"""K-FAC whose inverse is block-tridiagonal: neighbouring layers are coupled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import curvature as cv

from . import tridiagonal_files  # noqa: F401  (so that the operator can be saved)
from .costs import tridiagonal_cost
from .coupling import Coupling
from .damping import Factored
from .kfac import KFAC, factors
from .tridiagonal_operator import BlockTridiagonalInverse

Array = Any

CUTS = ("affine", "grouped", "embedding")
"""Kinds of layers that end a chain where they are no part of it; the others are only passed by."""


@dataclass(frozen=True)
class TridiagonalKFAC(Factored):
    """K-FAC with the couplings of neighbouring layers: F̂⁻¹ = Ξᵀ Λ Ξ is block-tridiagonal, and F̂ has those blocks of K-FAC's
    F̃_ij = Ā_ij ⊗ G_ij, Ā_ij = E[ā_i ā_jᵀ], G_ij = E[g_i g_jᵀ], that lie on its diagonal and next to it.

    Ξ is the identity with -Ψ_i,i+1 above its diagonal, Ψ_i,i+1 = F̃_i,i+1 F̃_i+1,i+1⁻¹ = Ψ^A ⊗ Ψ^G, and Λ is block-diagonal with
    the inverses of Σ_i|i+1 = F̃_ii - Ψ_i,i+1 F̃_i+1,i+1 Ψ_i,i+1ᵀ, differences of two Kronecker products: the gradients of
    the layers as a Gaussian chain. Exact (the whole matrix) for deep linear networks with squared error, and of K-FAC's
    matrix for two layers; one layer is K-FAC. Singular factors are taken with their pseudo-inverse, so that products are
    always defined; ``solve`` without damping then needs ``gamma``.

    A chain holds the affine layers that each example passes once, in the order of their first use. Convolutions, embeddings and
    weights that are shared over positions get K-FAC's own blocks, and end the chain where they stand; other kinds of
    parameters get their own blocks too, and the chain goes on past them.

    Attributes:
        damping, gamma: as in K-FAC: damped are the factors on the diagonal, those of Ψ included.
        max_dense: largest layer of another kind that gets a dense block.

    Source: Martens and Grosse (2015), §4.3 and appendix B.
    """

    name: ClassVar[str] = "kfac-tridiagonal"
    max_dense: int = 1000

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return tridiagonal_cost(self, layout)


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: TridiagonalKFAC, backend: cv.Backend) -> Any:
    """{"layers": the statistics of K-FAC, "pairs": {layer: {the next layer of its chain: {"A", "G"}}}}.

    Raises:
        ModelError: naming the layers, if batches differ in which of them make up the chains.
    """
    of_layers = matrix.of_layers(
        lambda values: factors(values, "expand", method.max_dense), key=("kfac", "expand", method.max_dense)
    )
    known: list[Any] = []

    def of_batch(evaluation: Any) -> dict[str, Any]:
        pairs = neighbours(matrix.layer_values(evaluation))
        _require_same(known, pairs, evaluation.batch.index)
        moments: dict[str, Any] = {}
        for one, other in pairs:
            moments[one.layer.name] = {other.layer.name: cross_moments(backend.xp, one, other, evaluation.weights)}
        return {"layers": of_layers(evaluation), "pairs": moments}

    return (yield of_batch)


def neighbours(values: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Layers that follow one another in a chain, in order of their first uses."""
    chain = [v for v in values if v.layer.kind in CUTS and v.layer.uses]
    chain = sorted(chain, key=lambda v: min(v.layer.uses))
    return [(one, other) for one, other in pairwise(chain) if one.is_unshared and other.is_unshared]


def cross_moments(xp: Any, one: Any, other: Any, weights: Array | None) -> dict[str, Array]:
    """Ā_ij = Σ_n w_n ā_i ā_jᵀ and G_ij = Σ_n Σ_r g_i g_jᵀ of two layers with one position."""
    a, b = one.augmented_inputs[:, 0, :], other.augmented_inputs[:, 0, :]
    a = a * (1.0 / a.shape[0]) if weights is None else a * weights[:, None]
    g, h = (xp.reshape(xp.permute_dims(v.cotangents[:, 0, :, :], (0, 2, 1)), (-1, v.cotangents.shape[2])) for v in (one, other))
    return {"A": xp.matrix_transpose(a) @ b, "G": xp.matrix_transpose(g) @ h}


def _require_same(known: list[Any], pairs: list[tuple[Any, Any]], index: int) -> None:
    names = [(one.layer.name, other.layer.name) for one, other in pairs]
    if not known:
        known.append(names)
    if known[0] != names:
        layers = ", ".join(sorted({name for pair in set(known[0]) ^ set(names) for name in pair}))
        raise cv.ModelError(
            f"batch {index}: {layers} are passed once by each example in some batches and several times in others, so there is "
            f"no one chain of layers; take 'kfac', or batches that are alike"
        )


@cv.build.dispatch
def build(method: TridiagonalKFAC, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """K-FAC's operator with the couplings Ψ."""
    backend, layers = structure.backend, {layer.name: layer for layer in structure.layers}
    blocks = cv.build(KFAC(gamma=method.gamma, max_dense=method.max_dense), statistics["layers"], structure)
    order = sorted(statistics["pairs"], key=lambda name: min(layers[name].uses))
    couplings = []
    for upper in order:
        ((lower, moments),) = statistics["pairs"][upper].items()
        first, second = (factor.array for factor in blocks.blocks[lower].factors)
        g, a = (first, second) if layers[lower].transposed else (second, first)
        psi = {"A": moments["A"] @ pseudo_inverse(backend, a), "G": moments["G"] @ pseudo_inverse(backend, g)}
        sides = (psi["G"], psi["A"]) if layers[upper].transposed else (psi["A"], psi["G"])
        couplings.append(Coupling(upper, lower, *sides, layers[upper].transposed != layers[lower].transposed))
    return BlockTridiagonalInverse(blocks, couplings)


def pseudo_inverse(backend: cv.Backend, matrix: Array) -> Array:
    """Of a symmetric positive semidefinite matrix: eigenvalues that cannot be told from zero are left out."""
    xp = backend.xp
    values, vectors = backend.eigh(matrix)
    kept = values > 10 * float(xp.finfo(values.dtype).eps) * int(matrix.shape[0]) * xp.max(xp.abs(values))
    inverse = xp.where(kept, 1.0 / xp.where(kept, values, xp.ones_like(values)), xp.zeros_like(values))
    return (vectors * inverse[None, :]) @ xp.matrix_transpose(vectors)
