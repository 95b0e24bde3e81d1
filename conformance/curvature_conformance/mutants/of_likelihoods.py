"""Defects of a likelihood."""

from __future__ import annotations

from typing import Any

import curvature as cv

from .mutant import Mutant


class ScoreOfTheLoss(cv.Categorical):
    """The gradient of the loss for the score."""

    def score(self, outputs: Any, y: Any) -> Any:
        return -super().score(outputs, y)


class WithoutFactorial(cv.Poisson):
    """A constant left out."""

    def log_prob(self, outputs: Any, y: Any) -> Any:
        xp = cv.namespace(outputs)
        return xp.sum(y * outputs - xp.exp(outputs), axis=1)


class VarianceForDeviation(cv.Gaussian):
    """Draws of another spread."""

    def sample(self, rng: Any, outputs: Any) -> Any:
        return outputs + self.variance * rng.normal(tuple(outputs.shape), dtype=outputs.dtype)


class NoRoot(cv.Gaussian):
    """S = F instead of S Sᵀ = F."""

    def fisher_factor(self, outputs: Any) -> Any:
        return super().fisher_factor(outputs) * self.variance**-0.5


class MeanForVariance(cv.Bernoulli):
    """p for p (1 - p)."""

    def _variance(self, outputs: Any) -> Any:
        return self.probabilities(outputs)


class OneDraw(cv.Categorical):
    """The same label always."""

    def sample(self, rng: Any, outputs: Any) -> Any:
        return 0 * super().sample(rng, outputs)


class OwnSeed(cv.Categorical):
    """A generator of its own."""

    _draws = 0

    def sample(self, rng: Any, outputs: Any) -> Any:
        type(self)._draws += 1
        return super().sample(rng.split(self._draws + 1)[-1], outputs)


class NegativeHessian(cv.Poisson):
    """Minus the Hessian."""

    def hessian_product(self, outputs: Any, y: Any, v: Any) -> Any:
        return -super().hessian_product(outputs, y, v)


class DeviationForVariance(cv.Gaussian):
    """A root too many."""

    def score(self, outputs: Any, y: Any) -> Any:
        return (y - outputs) * self.variance**-0.5


class FisherForHessian(cv.Gamma):
    """A factor where there is none."""

    def hessian_factor(self, outputs: Any, y: Any) -> Any:
        return self.fisher_factor(outputs)


class NotNatural(cv.Exponential):
    """Called natural, and not: a log rate."""

    canonical = True


def _mutant(name: str, likelihood: type[cv.Likelihood], check: str, *words: str, **options: Any) -> Mutant:
    return Mutant(name, "likelihood", lambda backend: likelihood(**options), f"likelihood/{check}", "*", words, {})


MUTANTS = (
    _mutant("a parameter called natural", NotNatural, "a-natural-parameter-has-its-fisher-for-a-hessian", "canonical inherited"),
    _mutant("the gradient of the loss for the score", ScoreOfTheLoss, "the-score-is-the-derivative", "sign is wrong"),
    _mutant("no factorial", WithoutFactorial, "the-density-is-normalised", "log y!"),
    _mutant(
        "the variance for the standard deviation",
        VarianceForDeviation,
        "draws-have-the-moments-of-the-score",
        "standard deviation",
        variance=0.25,
    ),
    _mutant("no root", NoRoot, "the-factor-is-a-root-of-the-fisher", "root forgotten", variance=0.25),
    _mutant("the mean for the variance", MeanForVariance, "the-fisher-is-the-variance-of-the-score", "E_y[s sᵀ]"),
    _mutant("always the same label", OneDraw, "draws-have-the-moments-of-the-score", "standard errors off"),
    _mutant("a generator of its own", OwnSeed, "draws-have-the-moments-of-the-score", "does not come from rng"),
    _mutant("minus the Hessian of the loss", NegativeHessian, "the-hessian-is-the-second-derivative", "sign is wrong"),
    _mutant("a variance left out", DeviationForVariance, "the-score-is-the-derivative", "it is 0.5 times", variance=0.25),
    _mutant(
        "the Fisher's factor for the Hessian's", FisherForHessian, "the-hessian-is-the-second-derivative", "negative eigenvalue"
    ),
)
