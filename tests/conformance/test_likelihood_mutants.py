"""Planted defects of likelihoods and of the curvature matrices: each is caught, by a message that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature_conformance import issues


class ScoreOfTheLoss(cv.Categorical):
    def score(self, outputs: Any, y: Any) -> Any:
        return -super().score(outputs, y)


class WithoutFactorial(cv.Poisson):
    def log_prob(self, outputs: Any, y: Any) -> Any:
        xp = cv.namespace(outputs)
        return xp.sum(y * outputs - xp.exp(outputs), axis=1)


class VarianceForDeviation(cv.Gaussian):
    def sample(self, rng: Any, outputs: Any) -> Any:
        return outputs + self.variance * rng.normal(tuple(outputs.shape), dtype=outputs.dtype)


class NoRoot(cv.Gaussian):
    def fisher_factor(self, outputs: Any) -> Any:
        return super().fisher_factor(outputs) * self.variance**-0.5


class MeanForVariance(cv.Bernoulli):
    def _variance(self, outputs: Any) -> Any:
        return self.probabilities(outputs)


class OneDraw(cv.Categorical):
    def sample(self, rng: Any, outputs: Any) -> Any:
        return np.zeros(len(outputs), dtype=np.int64)


class NegativeHessian(cv.Poisson):
    def hessian_product(self, outputs: Any, y: Any, v: Any) -> Any:
        return -super().hessian_product(outputs, y, v)


class DeviationForVariance(cv.Gaussian):
    def score(self, outputs: Any, y: Any) -> Any:
        return (y - outputs) * self.variance**-0.5


class OnlyLogProb(cv.Likelihood):
    """A third party's: exponential with log rate, f - y exp f."""

    def log_prob(self, outputs: Any, y: Any) -> Any:
        xp = cv.namespace(outputs)
        return xp.sum(outputs - y * xp.exp(outputs), axis=1)

    def check(self, outputs: Any, y: Any) -> Any:
        return y

    def sample(self, rng: Any, outputs: Any) -> Any:
        xp = cv.namespace(outputs)
        return -xp.log(1.0 - rng.uniform(tuple(outputs.shape), dtype=outputs.dtype)) * xp.exp(-outputs)

    def fisher_product(self, outputs: Any, v: Any) -> Any:
        return v


MUTANTS: dict[str, tuple[Callable[[], cv.Likelihood], str, tuple[str, ...]]] = {
    "the gradient of the loss for the score": (ScoreOfTheLoss, "*/the-score-*", ("sign is wrong",)),
    "no factorial": (WithoutFactorial, "*/the-density-*", ("log y!",)),
    "variance for standard deviation": (lambda: VarianceForDeviation(0.25), "*/draws-*", ("standard deviation",)),
    "no root": (lambda: NoRoot(0.25), "*/the-factor-*", ("fisher_product", "root forgotten")),
    "the mean for the variance": (MeanForVariance, "*/the-fisher-is-*", ("E_y[s sᵀ]",)),
    "always the same draw": (OneDraw, "*/draws-*", ("standard errors off",)),
    "minus the Hessian": (NegativeHessian, "*/the-hessian-*", ("sign is wrong",)),
    "a variance left out": (lambda: DeviationForVariance(0.25), "*/the-score-*", ("it is 0.5 times",)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_likelihood_mutant_is_caught(name: str, caught: Any) -> None:
    make, check, words = MUTANTS[name]
    caught(make(), check, *words)


def test_a_likelihood_with_little_more_than_log_prob_conforms() -> None:
    assert issues(OnlyLogProb()) == []


MATRICES: dict[str, tuple[str, Callable[..., Any], str, tuple[str, ...]]] = {
    "the empirical Fisher is an alias": ("EmpiricalFisher", cv.Fisher, "matrices/the-empirical-*", ("alias",)),
    "the Hessian is the GGN": ("Hessian", cv.GGN, "matrices/hessian", ("Hessian", "H = G + ")),
    "the Fisher is empirical": ("Fisher", cv.EmpiricalFisher, "matrices/fisher", ("data's y",)),
    "one seed for all": (
        "MonteCarloFisher",
        lambda problem, samples=1, seed=0: _monte_carlo(problem, samples=samples),
        "monte-carlo/one-*",
        ("seed is ignored",),
    ),
    "the data's labels for draws": (
        "MonteCarloFisher",
        lambda problem, samples=1, seed=0: _Labels(problem),
        "monte-carlo/converges-*",
        ("standard errors",),
    ),
    "the GGN of a sum": ("GGN", lambda problem: _summed(problem), "matrices/ggn", ("it is N = ",)),
}

_monte_carlo, _ggn, _empirical = cv.MonteCarloFisher, cv.GGN, cv.EmpiricalFisher


class _Labels(cv.EmpiricalFisher):
    def factor(self, outputs: Any, y: Any, batch: Any) -> Any:
        return np.repeat(super().factor(outputs, y, batch), 300, axis=2) * 300**-0.5


def _summed(problem: cv.Problem) -> Any:
    other = cv.Problem(problem.model, problem.likelihood, next(problem.batches()), reduction="sum")
    return _ggn(other)


@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix_mutant_is_caught(name: str, caught: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    attribute, replacement, check, words = MATRICES[name]
    monkeypatch.setattr(cv, attribute, replacement)
    caught("numpy", check, *words)
