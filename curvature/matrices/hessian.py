"""The Hessian of the loss."""

from __future__ import annotations

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
        return [self.backend.hvp(loss, self.problem.params, tangent) for tangent in tangents]

    def at(self, problem: Problem) -> Hessian:
        return Hessian(problem, tolerance=self.tolerance)
