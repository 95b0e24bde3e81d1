"""What is true of an approximation whatever the scenario, and what is true of the scenarios themselves."""

from __future__ import annotations

from .case import Case
from .scenario import FISHER_TYPE, MATRICES, Exact

UNIVERSAL = (
    Exact("exact", MATRICES, "matrix", "it is the matrix"),
    Exact("diagonal", FISHER_TYPE, "diagonal", "it is the diagonal, the nearest diagonal matrix in the Frobenius norm"),
)
"""Theorems that hold on every scenario."""

REFUSES_HESSIAN = ("kfac", "diagonal")
"""Approximations that need the form E[Jᵀ S Sᵀ J], which a Hessian has not."""


def theorems(case: Case, *, holds: bool) -> list[Exact]:
    """What is known of the approximation under test on this scenario: what is exact, or what cannot be."""
    name = case.setting.label
    return [t for t in (*UNIVERSAL, *case.scenario.theorems) if t.approximation == name and t.holds is holds]
