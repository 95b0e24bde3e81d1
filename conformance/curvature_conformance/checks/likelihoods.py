"""A likelihood's parts agree with its log_prob: normalisation, score, Hessian, Fisher information, draws."""

from __future__ import annotations

from typing import Any

import numpy as np

import curvature as cv

from ..cases.base import SEED
from ..cases.of_likelihood import LikelihoodCase
from ..checklist import check
from ..diagnosis import diagnose
from ..failures import CheckFailure, deviation, expect, expect_close

Array = Any

_DRAWS = 4000


def _has_points(case: LikelihoodCase) -> bool:
    return case.scenario.points is not None


def _can_draw(case: LikelihoodCase) -> bool:
    return type(case.likelihood).sample is not cv.Likelihood.sample


def _has_targets(case: LikelihoodCase) -> bool:
    return _can_draw(case) or _has_points(case)


def _some_targets(case: LikelihoodCase) -> np.ndarray:
    """One y for each example, on the host."""
    if not _can_draw(case):
        points = case.scenario.points
        assert points is not None
        return np.stack([points[0] for _ in case.outputs])
    # As many as the other check draws: what compiles does so once for each number.
    draws = [case.setting.numpy(case.drawn(n, _DRAWS, SEED + n)[1])[0] for n in range(len(case.outputs))]
    return np.stack(draws)


def _step(case: LikelihoodCase) -> float:
    """Of central differences: the error is of order h² and eps/h."""
    return 1e-4 if case.setting.dtype == "float64" else 2e-2


@check("likelihood", "likelihood", applies=_has_points, source="Kolmogorov 1933: probabilities add up to one")
def the_density_is_normalised(case: LikelihoodCase) -> None:
    """exp(log_prob) sums (or integrates) to one over y."""
    for n in range(len(case.outputs)):
        total = case.expectation(n, lambda f, y: np.ones(f.shape[0]))
        gap = abs(float(total) - 1)
        expect(
            gap <= 100 * case.setting.tolerance,
            f"Σ_y p(y | f) at outputs {case.outputs[n]}",
            f"{float(total):.10g}",
            formula="1",
            causes="a constant that is left out (log y!, log 2π): then loss() is not -log p",
        )


@check("likelihood", "likelihood", applies=_has_targets, source="Fisher 1925; Lehmann and Casella 1998, section 2.5")
def the_score_is_the_derivative(case: LikelihoodCase) -> None:
    """score is ∂ log_prob/∂f, by central differences."""
    setting, likelihood, h = case.setting, case.likelihood, _step(case)
    y = setting.asarray(_some_targets(case))
    y = likelihood.check(setting.asarray(case.outputs), y)
    found = setting.require_own(likelihood.score(setting.asarray(case.outputs), y), "score")
    expected = np.zeros(case.outputs.shape)
    for c in range(case.outputs.shape[1]):
        ends = []
        for sign in (1, -1):
            moved = case.outputs.copy()
            moved[:, c] += sign * h
            ends.append(setting.numpy(likelihood.log_prob(setting.asarray(moved), y)).astype(float))
        expected[:, c] = (ends[0] - ends[1]) / (2 * h)
    _near(
        case,
        found,
        expected,
        "score(f, y)",
        "∂ log p(y | f)/∂f by central differences",
        "the wrong sign, the gradient of the loss instead",
    )


@check(
    "likelihood",
    "likelihood",
    applies=_has_targets,
    source="Lehmann and Casella 1998, section 2.5; Horn and Johnson 2013, theorem 7.2.6",
)
def the_hessian_is_the_second_derivative(case: LikelihoodCase) -> None:
    """hessian_product is -∂² log_prob/∂f² times v, by differences of the score, and hessian_factor a root of it."""
    setting, likelihood, h = case.setting, case.likelihood, _step(case)
    f = setting.asarray(case.outputs)
    y = likelihood.check(f, setting.asarray(_some_targets(case)))
    v = setting.normal(*case.outputs.shape, seed=2)
    found = setting.require_own(likelihood.hessian_product(f, y, setting.asarray(v)), "hessian_product")
    ends = [setting.numpy(likelihood.score(setting.asarray(case.outputs + sign * h * v), y)).astype(float) for sign in (1, -1)]
    _near(
        case,
        found,
        (ends[1] - ends[0]) / (2 * h),
        "hessian_product(f, y, v)",
        "-∂² log p/∂f² v by differences of the score",
        "the wrong sign, a variance left out",
    )
    if not _is_convex(case, f, y):
        _require_refused(case, f, y)
        return
    factor = setting.require_own(likelihood.hessian_factor(f, y), "hessian_factor").astype(float)
    product = np.einsum("ncr,ndr,nd->nc", factor, factor, v)
    expect_close(
        setting,
        setting.asarray(product),
        found.astype(float),
        "S Sᵀ v of hessian_factor",
        formula="hessian_product",
        tolerance=100,
    )


def _is_convex(case: LikelihoodCase, f: Array, y: Array) -> bool:
    """Whether -∂² log p/∂f² is positive semidefinite for every example."""
    unit = [case.setting.asarray(np.broadcast_to(e, case.outputs.shape)) for e in np.eye(case.outputs.shape[1])]
    columns = [case.setting.numpy(case.likelihood.hessian_product(f, y, e)).astype(float) for e in unit]
    values = np.linalg.eigvalsh(np.stack(columns, axis=2))
    rounding = 1e3 * float(np.finfo(case.setting.dtype).eps)  # what Likelihood.hessian_factor takes for rounding
    return bool(np.all(values[:, 0] >= -rounding * np.abs(values).max(axis=1)))


def _require_refused(case: LikelihoodCase, f: Array, y: Array) -> None:
    try:
        factor = case.likelihood.hessian_factor(f, y)
    except cv.NotPositiveDefiniteError:
        return
    raise CheckFailure(
        "hessian_factor of a Hessian with a negative eigenvalue",
        f"an array of shape {tuple(factor.shape)}",
        formula="NotPositiveDefiniteError: no real S has S Sᵀ = H",
        causes="roots of absolute values, the factor of the Fisher information in its place",
    )


@check(
    "likelihood",
    "likelihood",
    applies=lambda case: case.likelihood.canonical and _has_targets(case),
    source="Martens 2020, section 9.2",
)
def a_natural_parameter_has_its_fisher_for_a_hessian(case: LikelihoodCase) -> None:
    """Where ``canonical`` is said, hessian_product is fisher_product, whatever y."""
    setting, likelihood = case.setting, case.likelihood
    f = setting.asarray(case.outputs)
    y = likelihood.check(f, setting.asarray(_some_targets(case)))
    v = setting.asarray(setting.normal(*case.outputs.shape, seed=4))
    expect_close(
        setting,
        likelihood.hessian_product(f, y, v),
        setting.numpy(likelihood.fisher_product(f, v)).astype(float),
        "hessian_product(f, y, v) with canonical = True",
        formula="fisher_product(f, v): the second derivative of -log p in a natural parameter does not depend on y",
        causes="canonical inherited from a likelihood of which this is a reparametrisation, a scale in one of the two",
        tolerance=100,
    )


@check("likelihood", "likelihood", source="Horn and Johnson 2013, theorem 7.2.6")
def the_factor_is_a_root_of_the_fisher(case: LikelihoodCase) -> None:
    """fisher_factor S, of shape (N, C, R), has S Sᵀ v = fisher_product v."""
    setting, likelihood = case.setting, case.likelihood
    f, v = setting.asarray(case.outputs), setting.normal(*case.outputs.shape, seed=3)
    factor = setting.require_own(likelihood.fisher_factor(f), "fisher_factor").astype(float)
    shape = case.outputs.shape
    expect(
        factor.ndim == 3 and factor.shape[:2] == shape,
        "fisher_factor",
        f"shape {factor.shape}",
        formula=f"(N, C, R) with (N, C) = {shape}",
    )
    product = likelihood.fisher_product(f, setting.asarray(v))
    expect_close(
        setting,
        product,
        np.einsum("ncr,ndr,nd->nc", factor, factor, v),
        "fisher_product(f, v)",
        formula="S Sᵀ v",
        causes="the factor's root forgotten: S = F instead of S Sᵀ = F",
        tolerance=10,
    )


@check("likelihood", "likelihood", applies=_has_points, source="Fisher 1925; Lehmann and Casella 1998, section 2.5")
def the_fisher_is_the_variance_of_the_score(case: LikelihoodCase) -> None:
    """fisher_product is E[s sᵀ] over the distribution itself, and E[s] = 0, by enumeration or quadrature."""
    setting, likelihood = case.setting, case.likelihood
    columns = [
        setting.numpy(
            likelihood.fisher_product(setting.asarray(case.outputs), setting.asarray(np.broadcast_to(unit, case.outputs.shape)))
        )
        for unit in np.eye(case.outputs.shape[1])
    ]
    found = np.stack(columns, axis=2).astype(float)

    def score(f: object, y: object) -> np.ndarray:
        return setting.numpy(likelihood.score(f, y)).astype(float)

    for n in range(len(case.outputs)):
        mean = case.expectation(n, score)
        expected = case.expectation(n, lambda f, y: np.einsum("kc,kd->kcd", score(f, y), score(f, y)))
        scale = float(np.max(np.abs(expected)))
        gap = float(np.max(np.abs(mean))) / scale**0.5
        expect(
            gap <= 100 * setting.tolerance,
            "E[score]",
            f"{mean}",
            formula="0 (Fisher 1922)",
            causes="a score that is not that of log_prob",
        )
        expect_close(
            setting,
            setting.asarray(found[n]),
            expected,
            f"the Fisher information at outputs {case.outputs[n]}",
            formula="E_y[s sᵀ], s = ∂ log p/∂f (Fisher 1922)",
            causes="the Hessian at the data, a variance left out",
            tolerance=100,
        )


@check("likelihood", "likelihood", applies=_can_draw, source="Fisher 1925; Lehmann and Casella 1998, section 2.5")
def draws_have_the_moments_of_the_score(case: LikelihoodCase) -> None:
    """The scores of 4000 draws have mean zero and the Fisher information as covariance, to six standard errors."""
    setting, likelihood = case.setting, case.likelihood
    for n in range(len(case.outputs)):
        f, y = case.drawn(n, _DRAWS, SEED + n)
        scores = setting.numpy(likelihood.score(f, y)).astype(float)
        factor = setting.numpy(likelihood.fisher_factor(setting.asarray(case.outputs[n : n + 1]))).astype(float)[0]
        fisher = factor @ factor.T
        squares = np.einsum("kc,kd->kcd", scores, scores)
        for label, draws, expected in (("E[s]", scores, np.zeros(scores.shape[1])), ("E[s sᵀ]", squares, fisher)):
            error = draws.std(axis=0, ddof=1) / _DRAWS**0.5 + np.max(np.abs(fisher)) / _DRAWS
            worst = float(np.max(np.abs(draws.mean(axis=0) - expected) / error))
            expect(
                worst <= 6,
                f"{label} over {_DRAWS} draws at outputs {case.outputs[n]}",
                f"{worst:.1f} standard errors off",
                formula="0 for the score, the Fisher information for its square",
                causes="a standard deviation where the variance is meant, draws of another distribution than log_prob's",
            )
        same = np.array_equal(setting.numpy(y), setting.numpy(case.drawn(n, _DRAWS, SEED + n)[1]))
        expect(same, "sample, twice with one seed", "two results", formula="one", causes="randomness that does not come from rng")


def _near(case: LikelihoodCase, found: np.ndarray, expected: np.ndarray, what: str, formula: str, causes: str) -> None:
    """Compare with differences, which are exact to about 1e-7 in float64 and 1e-3 in float32."""
    allowed = (1e-6 if case.setting.dtype == "float64" else 2e-2) * case.setting.slack
    gap = deviation(found.astype(float), expected)
    if gap > allowed:
        raise CheckFailure(
            what,
            f"relative deviation {gap:.1e}, allowed {allowed:.0e}",
            formula=formula,
            causes=causes,
            diagnosis=diagnose(found.astype(float), expected, allowed, {}),
        )
