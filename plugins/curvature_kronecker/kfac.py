"""Kronecker-factored approximate curvature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import curvature as cv

from .costs import kfac_cost
from .damping import Factored, own_statistics

Array = Any


@dataclass(frozen=True)
class KFAC(Factored):
    """One Kronecker product for each layer s = W ā: F_l = E[ā āᵀ ⊗ g gᵀ] ≈ A ⊗ G, A = E[ā āᵀ], G = E[g gᵀ].

    ā is the layer's input with a 1 appended where it has a bias, g the gradient at its output, over the model's own
    distribution (Fisher), draws from it (Monte Carlo), the data (empirical) or a root of the loss's Hessian (GGN). Exact
    for one example, and for deep linear networks with squared error. An embedding's inputs are unit vectors: A is the
    diagonal matrix of how often each row is used. Convolutions with groups share A, the mean over the groups. Parameters
    that enter in other ways (scales and shifts, mixed ones) get their own dense block, or its diagonal where they are more
    than ``max_dense``.

    Attributes:
        damping, gamma: factored or exact damping, as ``Factored`` says.
        sharing: weights shared over T positions: "expand" treats positions as examples, "reduce" averages inputs and
            sums gradients over them first (Eschenhagen et al. 2023); layers with an affine map only, embeddings and
            convolutions with groups are always expanded.
        max_dense: largest layer of another kind that gets a dense block.

    Source: Martens and Grosse (2015).
    """

    name: ClassVar[str] = "kfac"
    sharing: Literal["expand", "reduce"] = "expand"
    max_dense: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_sharing(self.name, self.sharing)

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return kfac_cost(self, layout)


def require_sharing(name: str, sharing: str) -> None:
    """Refuse what is no way to treat shared positions."""
    if sharing not in ("expand", "reduce"):
        raise cv.DataError(f"{name}: sharing is 'expand' or 'reduce', got {sharing!r}")


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: KFAC, backend: cv.Backend) -> Any:
    """{layer: {"A", "G"}, {"frequencies", "G"} of an embedding, or {"block"} or {"diagonal"} of other layers}."""
    return (yield factored_moments(matrix, method))


def factored_moments(matrix: cv.GaussNewtonMatrix, method: KFAC) -> Any:
    """The request for the statistics, which do not depend on the damping."""
    sharing, largest = method.sharing, method.max_dense
    return matrix.of_layers(lambda values: factors(values, sharing, largest), key=("kfac", sharing, largest))


def factors(values: Any, sharing: str, max_dense: int) -> dict[str, Array]:
    """The statistics of one layer, from its inputs and cotangents."""
    layer = values.layer
    if layer.kind not in ("affine", "grouped", "embedding"):
        return own_statistics(values, max_dense)
    a = "frequencies" if layer.kind == "embedding" else "A"
    return {a: input_factor(values, sharing), "G": output_factor(values, sharing)}


def input_factor(values: Any, sharing: str) -> Array:
    """A, or its diagonal for an embedding."""
    if values.layer.kind == "embedding":
        return values.input_frequencies
    if sharing == "reduce" and values.layer.kind == "affine":
        a = values.augmented_inputs
        return values.weighted_gram(cv.namespace(a).mean(a, axis=1, keepdims=True))
    return values.input_gram


def output_factor(values: Any, sharing: str) -> Array:
    """G."""
    if sharing == "reduce" and values.layer.kind == "affine":
        g = values.cotangents
        xp = cv.namespace(g)
        return values.gram(xp.matrix_transpose(xp.sum(g, axis=1)))
    gram = values.output_gram
    return gram if values.positions == 1 else gram * (1.0 / values.positions)
