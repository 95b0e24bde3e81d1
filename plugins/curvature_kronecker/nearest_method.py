"""The options of the nearest Kronecker products, and how their statistics merge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import curvature as cv

from .costs import nearest_cost
from .damping import Factored
from .subspace import compressed

MATRIX_KINDS = ("affine", "grouped", "embedding")
"""Kinds of layers whose blocks are approximated by Kronecker products."""


@dataclass(frozen=True)
class NearestKronecker(Factored):
    """For each layer s = W ā the Kronecker product A ⊗ G that is nearest to its block M in the Frobenius norm, or the nearest
    sum Σ_i A_i ⊗ G_i of ``rank`` products with symmetric factors.

    R(G ⊗ A) = vec(G) vec(A)ᵀ for the rearrangement R(M), (d_out², d_in²), so these are its leading singular triplets, and
    ‖M - Σ_i A_i ⊗ G_i‖² = ‖M‖² - Σ_i σ_i² with σ_i = ‖A_i‖ ‖G_i‖. They are found by subspace iteration on R(M), which is
    never formed: K-FAC's A is the start, and an iteration is two passes over the data. With one product and a positive
    semidefinite M each step keeps both factors positive semidefinite, is at least as near as K-FAC, and no other product is
    nearer in the end. (A nearest sum of several need not be semidefinite. Where positions share the weight, products of two
    *skew*-symmetric factors could come nearer still; they are left out.)

    An embedding's A is kept diagonal, and it gets one product. Parameters that enter in other ways get their own dense block,
    or its diagonal where they are more than ``max_dense``, as in K-FAC.

    Of a ``Hessian``, layers with a bias and one position for each example are treated like this too: M = Σ_n w_n Hz_n ⊗ ā_n ā_nᵀ
    with Hz_n the Hessian in the layer's outputs, of which products with the re-weighted loss are exact; an iteration
    costs 2 d_out second derivatives with respect to the bias for each product. Every other layer's block is formed by
    as many Hessian products as it has parameters, at most ``max_dense``.

    Statistics of parts of the data merge into the nearest sum of the weighted sum of the parts' products.

    Attributes:
        rank: number of products.
        iterations: most iterations.
        tolerance: an iteration that adds less than this, relative to all of Σ_i σ_i², is the last. (Within a program that is
            being compiled all of them are made.)
        oversampling: further products that are iterated on, and dropped: they speed up convergence where ``rank`` > 1 or M is a
            Hessian's.
        projection: what is made of one indefinite product: "none"; "psd", its positive part; "absolute", its absolute value
            (both nearest in the eigenbasis of the product). The dense blocks of other layers likewise.
        damping, gamma: as in K-FAC, but exact by default; factored damping is put into the first of several products. A
            product that is projected has gamma² added to its eigenvalues.
        seed: of the random start of all products but the first.
        max_dense: largest layer that gets a dense block.

    Sources: Van Loan and Pitsianis (1993); Koroko et al. (2022), for neural networks.
    """

    name: ClassVar[str] = "kron-nearest"
    merges: ClassVar[Literal["exact", "approximate"]] = "approximate"
    damping: Literal["factored", "exact"] = "exact"
    rank: int = 1
    iterations: int = 20
    tolerance: float = 1e-7
    oversampling: int = 2
    projection: Literal["none", "psd", "absolute"] = "none"
    seed: int = 0
    max_dense: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, least in (("rank", 1), ("iterations", 1), ("oversampling", 0), ("max_dense", 0)):
            value = getattr(self, option)
            if not (isinstance(value, int) and value >= least):
                raise cv.DataError(f"{self.name}: {option} is a whole number ≥ {least}, got {value!r}")
        if not self.tolerance >= 0:
            raise cv.DataError(f"{self.name}: tolerance is ≥ 0, got {self.tolerance}")
        if self.projection not in ("none", "psd", "absolute"):
            raise cv.DataError(f"{self.name}: projection is 'none', 'psd' or 'absolute', got {self.projection!r}")
        if self.projection != "none" and self.rank > 1:
            raise cv.DataError(
                f"{self.name}: projection={self.projection!r} needs rank=1: the eigenvectors of a sum of {self.rank} Kronecker "
                f"products have no structure; take rank=1, or projection='none'"
            )

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return nearest_cost(self, layout)

    def merge(self, statistics: list[Any], weights: list[Any]) -> Any:
        """The nearest sum of ``rank`` products of the weighted sum of all; what is no product is averaged."""
        if len(statistics) != len(weights) or not statistics:
            raise cv.DataError(f"{len(statistics)} statistics and {len(weights)} weights; give one weight for each")
        average = super().merge
        return {
            name: compressed([part[name] for part in statistics], weights)
            if "G" in first
            else average([part[name] for part in statistics], weights)
            for name, first in statistics[0].items()
        }
