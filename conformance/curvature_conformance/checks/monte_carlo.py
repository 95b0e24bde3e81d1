"""The Monte Carlo Fisher: random, but fixed by its seed, and right on average."""

from __future__ import annotations

import numpy as np

import curvature as cv

from ..cases.base import SEED
from ..cases.on_scenario import Case
from ..checklist import CONTRACT, check
from ..failures import expect

_SAMPLES = 300


def _factors(case: Case, samples: int, seed: int) -> np.ndarray:
    """S (N, C, R) of all batches, weights and scale put in: the matrix is Σ_n J_nᵀ S_n S_nᵀ J_n."""
    matrix = cv.MonteCarloFisher(case.problem, samples=samples, seed=seed)
    parts = [
        case.setting.require_own(matrix.output_factor(evaluation), "output_factor") * share**0.5
        for evaluation, share in case.problem.evaluations()
    ]
    return np.concatenate(parts).astype(np.float64)


@check(
    "matrix",
    "monte-carlo",
    capability="parameter_uses",
    applies=lambda case: case.scenario.is_plain,
    source="Martens and Grosse 2015, section 5",
)
def converges_to_the_fisher(case: Case) -> None:
    """The mean of 300 draws of s sᵀ is the Fisher information of the outputs, to six standard errors."""
    scores = _factors(case, _SAMPLES, SEED) * (_SAMPLES / case.references.share[:, None, None]) ** 0.5
    draws = np.einsum("ncr,ndr->rncd", scores, scores)
    error = draws.std(axis=0, ddof=1) / _SAMPLES**0.5
    gap = np.abs(draws.mean(axis=0) - case.references.output_fisher)
    # A rare event may not occur among the draws at all: the floor is what one occurrence would contribute.
    worst = float(np.max(gap / (error + np.abs(case.references.output_fisher).max() / _SAMPLES)))
    expect(
        worst <= 6,
        f"the mean of {_SAMPLES} draws of s sᵀ",
        f"{worst:.1f} standard errors from the Fisher information",
        formula="E[s sᵀ] = F_n over y drawn from the model's own distribution",
        causes="the labels of the data, a wrong "
        "variance, draws that are the same for every example, a factor 1/√samples that is missing",
    )


@check("matrix", "monte-carlo", capability="linearize", source=CONTRACT)
def one_seed_is_one_matrix(case: Case) -> None:
    """The operator of one seed is one and the same matrix each time; other seeds give other matrices."""
    matrix, v = case.matrix("monte-carlo-fisher", seed=1), case.array(case.vector(1))
    first = case.setting.numpy(matrix @ v)
    for label, again in (
        ("the same operator", matrix),
        ("another operator of the same seed", case.matrix("monte-carlo-fisher", seed=1)),
    ):
        case.close(
            again @ v,
            first,
            f"a second product of {label}",
            formula="the first: one seed is one matrix",
            causes="random state that is global, or consumed by use",
        )
    others = [case.setting.numpy(case.matrix("monte-carlo-fisher", seed=seed) @ v) for seed in (2, 3, 4, 5)]
    expect(
        any(not np.array_equal(first, other) for other in others),
        "MonteCarloFisher for five seeds",
        "five times the same",
        formula="different draws",
        causes="the seed is ignored",
    )


@check("matrix", "monte-carlo", capability=("parameter_uses", "linearize"), source="Martens and Grosse 2015, section 5")
def products_are_those_of_the_factor(case: Case) -> None:
    """The products of the operator are those of its output factor: Σ_n J_nᵀ S_n S_nᵀ J_n."""
    factors = _factors(case, 3, 0)
    gradients = np.einsum("ncp,ncr->npr", case.references.jacobian, factors)
    expected = np.einsum("npr,nqr->pq", gradients, gradients)
    case.close(
        case.matrix("monte-carlo-fisher").to_dense(),
        expected,
        "MonteCarloFisher(problem).to_dense()",
        formula="Σ_n J_nᵀ S_n S_nᵀ J_n",
    )
