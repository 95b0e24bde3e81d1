"""What is true of an approximation whatever the scenario, and what is true of the scenarios themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

from .cases.on_scenario import Case
from .declared import answers
from .scenario import FISHER_TYPE, MATRICES, Exact

UNIVERSAL = (
    Exact("exact", MATRICES, "matrix", "it is the matrix"),
    Exact("diagonal", MATRICES, "diagonal", "it is the diagonal, the nearest diagonal matrix in the Frobenius norm"),
    Exact("block-diagonal", MATRICES, "blocks", "it is the blocks by layer, the nearest such matrix in the Frobenius norm"),
    Exact("sample-space", FISHER_TYPE, "matrix", "it is the matrix, as J̃ᵀ J̃"),
    Exact("neumann", MATRICES, "matrix", "it keeps the matrix; only its inverse is cut short"),
    Exact("conjugate-gradients", MATRICES, "matrix", "it keeps the matrix; only its inverse is cut short"),
    Exact("low-rank", FISHER_TYPE, "matrix", "a sketch with no fewer columns than the rank determines the matrix"),
    Exact("low-rank-plus-diagonal", FISHER_TYPE, "matrix", "nothing of the matrix is left for the diagonal"),
    Exact("ekfac", FISHER_TYPE, "trace", "second moments in an orthonormal basis add up to the trace (George et al. 2018)"),
)
"""Theorems that hold on every scenario."""

NO_FARTHER = {
    "ekfac": ("kfac", "it has the best diagonal in K-FAC's own eigenbasis (George et al. 2018)"),
    "kron-nearest": ("kfac", "it is the best Kronecker product, and K-FAC is one (Van Loan and Pitsianis 1993)"),
}
"""Approximations whose blocks are never farther from the matrix than another one's. Between these two there is no order."""

INVARIANT = ("exact", "block-diagonal", "kfac", "kflr", "sample-space", "neumann", "conjugate-gradients")
"""Approximations that change with linear coordinates of a layer as the matrix does."""

NOT_INVARIANT = ("diagonal",)
"""Approximations that provably do not."""

PIECEWISE_LINEAR = ("one-datum/relu", "relu-network/weights-as-rows")
"""Scenarios whose activations have no curvature: Hessian and GGN have the same blocks by layer, but differ elsewhere."""

AS_NEAR_AS = {"kron-nearest": "kfac", "ekfac": "kfac", "kflr": "kfac", "shampoo": "kfac"}
"""Approximations that are exact wherever another one is: at least as near to each block, or exact for any Kronecker product."""

DEFINED_FOR = {"kflr": ("fisher", "ggn"), "kfra": ("fisher", "ggn")}
"""Matrices for which an approximation is defined, if not for all of ``FISHER_TYPE``: it refuses the others."""

_ONE_DATUM = Exact("kron-nearest", ("hessian",), "blocks", "one example: H = Hz ⊗ a aᵀ (Botev, Ritter and Barber 2017)")

_RECURSION = Exact("kfra", ("fisher", "ggn"), "blocks", "the slopes do not depend on the example (Botev, Ritter and Barber 2017)")

SPECIAL = {
    "deep-linear/squared-error": (
        _RECURSION,
        Exact(
            "kfac-tridiagonal",
            ("fisher", "ggn"),
            "matrix",
            "inputs and gradients are linear maps of their neighbours, the gradients alike for all examples: a Markov chain",
        ),
    ),
    "tanh-network/categorical": (
        Exact("kfac", ("fisher",), "trace", "tr(A ⊗ G) = tr A · tr G is the trace where a and g are independent", holds=False),
    ),
    "one-datum/tanh": (_ONE_DATUM, _RECURSION),
    "one-datum/relu": (_ONE_DATUM, _RECURSION),
}
"""Theorems of one scenario each."""

REFUSES_HESSIAN = ("kfac", "kfac-tridiagonal", "ekfac", "kflr", "kfra", "shampoo", "sample-space")
"""Approximations that need the form E[Jᵀ S Sᵀ J], which a Hessian has not."""


def theorems(case: Case, *, holds: bool) -> list[Exact]:
    """What is known of the approximation under test on this scenario: what is exact, or what cannot be."""
    name = case.setting.label
    scenario = case.scenario
    as_near = [
        replace(t, approximation=name, matrices=tuple(m for m in t.matrices if m in DEFINED_FOR.get(name, MATRICES)))
        for t in scenario.theorems
        if t.holds and t.approximation == AS_NEAR_AS.get(name)
    ]
    known = (*UNIVERSAL, *SPECIAL.get(scenario.name, ()), *scenario.theorems, *as_near, *_declared(name))
    return [t for t in known if t.approximation == name and t.holds is holds and fnmatchcase(scenario.name, t.scenarios)]


def unmatched(subject: str, scenarios: Iterable[str]) -> list[Exact]:
    """Theorems that plugins give for a subject and that speak of nothing: misspelt."""
    names = list(scenarios)
    return [
        theorem
        for theorem in _declared(subject)
        if theorem.approximation != subject
        or set(theorem.matrices) - set(MATRICES)
        or not any(fnmatchcase(name, theorem.scenarios) for name in names)
    ]


def _declared(subject: str) -> list[Exact]:
    """Theorems that plugins give through the hook ``curvature_conformance_theorems``.

    Raises:
        TypeError: a plugin returned something else.
    """
    return answers("curvature_conformance_theorems", Exact, subject=subject)
