"""The Hessian of the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..problem import Batch, Problem
from .base import CurvatureMatrix

Tree = Any


class Hessian(CurvatureMatrix):
    """H = ∇²L(θ), which may be indefinite. H = GGN + Σ_n w_n Σ_c ∂ℓ_n/∂f_c ∇²f_c (Schraudolph 2002).

    Products are forward-over-reverse or reverse-over-forward, whichever the backend does faster (Pearlmutter 1994).
    """

    def _batch_products(self, batch: Batch, tangents: list[Tree]) -> list[Tree]:
        loss = self.problem.loss_of(batch)
        if len(tangents) == 1:
            return [self.backend.hvp(loss, self.problem.params, tangents[0])]
        product = self.backend.hessian_map(loss, self.problem.params)
        return [product(tangent) for tangent in tangents]

    def _batch_map(self, batch: Batch) -> Callable[[Tree], Tree]:
        return self.backend.hessian_map(self.problem.loss_of(batch), self.problem.params)

    def at(self, problem: Problem) -> Hessian:
        return Hessian(problem, tolerance=self.tolerance)
