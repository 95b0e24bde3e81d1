"""A scenario is data: a model, a likelihood, parameters, inputs, and references that were computed independently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
    """What should come out, in float64, for the number that the problem's ``loss()`` returns.

    Attributes:
        loss: L(θ).
        gradient: ∇L(θ), flat (P,).
        jacobian: ∂f_n/∂θ, (N, C, P).
        output_fisher: Fisher information of the likelihood in the outputs, (N, C, C).
        fisher, ggn, hessian, empirical_fisher: (P, P).
    """

    loss: float
    gradient: np.ndarray
    jacobian: np.ndarray
    output_fisher: np.ndarray
    fisher: np.ndarray
    ggn: np.ndarray
    hessian: np.ndarray
    empirical_fisher: np.ndarray

    def matrix(self, name: str) -> np.ndarray:
        """The reference of one of ``MATRICES`` (a Monte Carlo Fisher has none: it is random)."""
        found: np.ndarray = getattr(self, name.replace("-", "_"))
        return found

    def scaled(self, factor: float) -> References:
        """References of ``factor`` times the loss."""
        return replace(
            self,
            loss=self.loss * factor,
            gradient=self.gradient * factor,
            fisher=self.fisher * factor,
            ggn=self.ggn * factor,
            hessian=self.hessian * factor,
            empirical_fisher=self.empirical_fisher * factor,
        )


@dataclass(frozen=True)
class Exact:
    """A theorem: an approximation equals (or with ``holds=False`` provably differs from) part of the matrices.

    Attributes:
        approximation: name of the approximation.
        matrices: names of the matrices.
        part: "matrix", its diagonal "blocks" by layer, or its "diagonal".
        source: where it is proven.
        holds: False for what theory says must fail.
    """

    approximation: str
    matrices: tuple[str, ...]
    part: Literal["matrix", "blocks", "diagonal"] = "matrix"
    source: str = ""
    holds: bool = True


@dataclass(frozen=True, eq=False)
class Scenario:
    """A model with data and references. All arrays are NumPy's and float64 (labels int64), to be moved to any backend.

    Attributes:
        name: a name of its own, "family/variant".
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
    theorems: tuple[Exact, ...] = field(default=())

    @property
    def family(self) -> str:
        """What comes before the slash in the name."""
        return self.name.partition("/")[0]

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
