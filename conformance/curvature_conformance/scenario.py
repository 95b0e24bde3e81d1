"""A scenario is data: a model, a likelihood, parameters, inputs, and references that were computed independently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

import curvature as cv

Tree = Any

FISHER_TYPE = ("fisher", "ggn", "empirical-fisher", "monte-carlo-fisher")
"""Matrices of the form Σ_n w_n J_nᵀ S_n S_nᵀ J_n."""

MATRICES = (*FISHER_TYPE, "hessian")
"""Names of the matrices for which scenarios and declarations speak."""


@dataclass(frozen=True, eq=False)
class References:
    """What should come out, in float64: the contribution of each example, and how much each of them counts.

    Attributes:
        share: what example n counts for in L(θ), (N,): w_n / Σ w for a mean, w_n for a sum.
        jacobian: ∂f_n/∂θ, (N, C, P).
        output_fisher: Fisher information of the likelihood in the outputs, (N, C, C).
        losses: -log p(y_n | f_n), (N,).
        gradients: their gradients in θ, (N, P).
        fishers, ggns, hessians: J_nᵀ F_n J_n, J_nᵀ H_n J_n and ∂²ℓ_n/∂θ∂θᵀ, (N, P, P).
    """

    share: np.ndarray
    jacobian: np.ndarray
    output_fisher: np.ndarray
    losses: np.ndarray
    gradients: np.ndarray
    fishers: np.ndarray
    ggns: np.ndarray
    hessians: np.ndarray

    @property
    def loss(self) -> float:
        """L(θ), the number that the problem's ``loss()`` returns."""
        return float(self.share @ self.losses)

    @property
    def gradient(self) -> np.ndarray:
        """∇L(θ), flat (P,)."""
        return self.share @ self.gradients

    @cached_property
    def fisher(self) -> np.ndarray:
        """Σ_n share_n J_nᵀ F_n J_n."""
        return np.tensordot(self.share, self.fishers, axes=1)

    @cached_property
    def ggn(self) -> np.ndarray:
        """Σ_n share_n J_nᵀ H_n J_n."""
        return np.tensordot(self.share, self.ggns, axes=1)

    @cached_property
    def hessian(self) -> np.ndarray:
        """∇²L(θ)."""
        return np.tensordot(self.share, self.hessians, axes=1)

    @cached_property
    def empirical_fisher(self) -> np.ndarray:
        """Σ_n share_n g_n g_nᵀ."""
        return np.einsum("n,np,nq->pq", self.share, self.gradients, self.gradients)

    def matrix(self, name: str) -> np.ndarray:
        """The reference of one of ``MATRICES`` (a Monte Carlo Fisher has none: it is random)."""
        found: np.ndarray = getattr(self, name.replace("-", "_"))
        return found

    def reweighted(self, share: np.ndarray) -> References:
        """The same examples with other shares."""
        return replace(self, share=share)


@dataclass(frozen=True)
class Exact:
    """A theorem: an approximation equals (or with ``holds=False`` provably differs from) part of the matrices.

    Attributes:
        approximation: name of the approximation.
        matrices: names of the matrices.
        part: "matrix", its diagonal "blocks" by layer, its "diagonal", or its "trace".
        source: where it is proven.
        holds: False for what theory says must fail.
        scenarios: pattern of the names of the scenarios on which that is so.
    """

    approximation: str
    matrices: tuple[str, ...]
    part: Literal["matrix", "blocks", "diagonal", "trace"] = "matrix"
    source: str = ""
    holds: bool = True
    scenarios: str = "*"


@dataclass(frozen=True, eq=False)
class Scenario:
    """A model with data and references. All arrays are NumPy's and float64 (labels int64), to be moved to any backend.

    Attributes:
        name: a name of its own, "family/variant", with "+transformation" added by transformations.
        summary: one sentence.
        apply: ``apply(params, x) -> outputs``, written with ``curvature.namespace``.
        params: tree of parameters.
        likelihood: p(y | outputs).
        x: inputs or None.
        y: targets, examples on the first axis.
        references: what should come out.
        layers: names of the parameters that form a layer together; each parameter once.
        weights: (N,) or None.
        reduction: "mean" or "sum".
        batches: sizes of the batches into which the data is split; empty for one batch.
        theorems: what is exact and what cannot be.
        quick: whether the fast selection has it.
    """

    name: str
    summary: str
    apply: Callable[..., Any]
    params: Tree
    likelihood: cv.Likelihood
    x: np.ndarray | None
    y: np.ndarray
    references: References
    layers: tuple[tuple[str, ...], ...]
    weights: np.ndarray | None = None
    reduction: Literal["mean", "sum"] = "mean"
    batches: tuple[int, ...] = ()
    theorems: tuple[Exact, ...] = ()
    quick: bool = False

    @property
    def family(self) -> str:
        """What comes before the slash in the name."""
        return self.name.partition("/")[0]

    @property
    def is_plain(self) -> bool:
        """Whether it is no transformation of another one ("family/variant+transformation").

        Checks on which weights, reduction and batches can have no influence run on plain scenarios only.
        """
        return "+" not in self.name

    @property
    def size(self) -> int:
        """N, the number of examples."""
        return int(self.y.shape[0])

    @property
    def total_weight(self) -> float:
        """Σ w_n."""
        return float(self.size if self.weights is None else np.sum(self.weights))

    def __repr__(self) -> str:
        return f"Scenario({self.name!r})"
