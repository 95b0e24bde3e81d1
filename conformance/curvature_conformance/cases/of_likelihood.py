"""A likelihood at some outputs, with points at which it can be summed or integrated over y."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

import curvature as cv

from ..setting import Setting

Array = Any


@dataclass(frozen=True, eq=False)
class LikelihoodExample:
    """A likelihood with outputs (N, C) and, where known, points y (K, …) with their measure (K,): a sum or a quadrature.

    Attributes:
        name: name of the likelihood.
        likelihood: the likelihood.
        outputs: (N, C) on the host.
        points: y as the likelihood takes them for K examples, or None: then expectations are taken by drawing.
        measure: weight of each point.
        quick: whether the fast selection has it.
    """

    name: str
    likelihood: cv.Likelihood
    outputs: np.ndarray
    points: np.ndarray | None = None
    measure: np.ndarray | None = None
    quick: bool = True


@dataclass(frozen=True, eq=False)
class LikelihoodCase:
    """A likelihood example on a setting."""

    setting: Setting
    scenario: LikelihoodExample

    @property
    def likelihood(self) -> cv.Likelihood:
        """The likelihood."""
        return self.scenario.likelihood

    @property
    def outputs(self) -> np.ndarray:
        """(N, C) on the host."""
        return self.scenario.outputs

    def repeated(self, example: int, k: int) -> Array:
        """The outputs of one example, K times, on the backend."""
        return self.setting.asarray(np.repeat(self.outputs[example : example + 1], k, axis=0))

    def drawn(self, example: int, k: int, seed: int) -> tuple[Array, Array]:
        """(outputs repeated, K draws of y at them)."""
        f = self.repeated(example, k)
        return f, self.likelihood.sample(self.setting.backend.rng(seed), f)

    def expectation(self, example: int, function: Callable[[Array, Array], np.ndarray]) -> np.ndarray:
        """E_y[function(outputs, y)] by the sum or the quadrature; ``function`` gives (K, …) on the host."""
        points, measure = self.scenario.points, self.scenario.measure
        assert points is not None
        assert measure is not None
        f, y = self.repeated(example, len(points)), self.setting.asarray(points)
        density = np.exp(self.setting.numpy(self.likelihood.log_prob(f, y)).astype(float)) * measure
        return np.tensordot(density, np.asarray(function(f, y), dtype=float), axes=1)


def shipped() -> tuple[LikelihoodExample, ...]:
    """The library's likelihoods."""
    likelihoods = (
        cv.Categorical(),
        cv.Bernoulli(),
        cv.Poisson(),
        cv.Gaussian(0.64),
        cv.Exponential(),
        cv.Gamma(),
        cv.HeteroscedasticGaussian(),
        cv.VonMises(),
    )
    examples = map(example_of, likelihoods)
    return tuple(replace(example, quick=example.name == "Categorical") for example in examples)


def example_of(likelihood: cv.Likelihood) -> LikelihoodExample:
    """Moderate outputs for a likelihood; for the library's own (and what inherits from them) points to sum over."""
    name = type(likelihood).__name__
    if isinstance(likelihood, cv.Categorical):
        outputs = np.array([[0.4, -0.7, 1.1], [2.0, 0.3, -1.0]])
        return LikelihoodExample(name, likelihood, outputs, np.arange(3), np.ones(3))
    if isinstance(likelihood, cv.Poisson):
        counts = np.arange(60.0)[:, None]
        return LikelihoodExample(name, likelihood, np.array([[0.9], [-0.6]]), counts, np.ones(60))
    if isinstance(likelihood, cv.Gaussian):
        return _with_line(likelihood, np.array([[0.5], [-0.8]]), 10 * likelihood.variance**0.5 + 2)
    if isinstance(likelihood, cv.HeteroscedasticGaussian):
        return _with_line(likelihood, np.array([[0.5, -0.4], [-0.8, 0.3]]), 12.5)
    if isinstance(likelihood, (cv.Exponential, cv.Gamma)):
        # The trapezoid rule in log y: densities fall off exponentially on one side, faster on the other.
        logarithms = np.linspace(-60, 6, 1651)
        points, measure = np.exp(logarithms), np.exp(logarithms) * (logarithms[1] - logarithms[0])
        outputs = np.array([[0.4], [-1.2]]) if isinstance(likelihood, cv.Exponential) else np.array([[0.8, -0.2], [-0.6, 0.3]])
        return LikelihoodExample(name, likelihood, outputs, points[:, None], measure)
    if isinstance(likelihood, cv.VonMises):
        angles = 2 * np.pi * np.arange(64) / 64
        outputs = np.array([[0.9, -0.4], [-2.0, 1.5]])
        return LikelihoodExample(name, likelihood, outputs, angles[:, None], np.full(64, 2 * np.pi / 64))
    outputs = np.array([[0.4, -0.7], [-1.2, 0.9]])
    if isinstance(likelihood, cv.Bernoulli):
        return LikelihoodExample(name, likelihood, outputs, np.array(list(product((0.0, 1.0), repeat=2))), np.ones(4))
    return LikelihoodExample(name, likelihood, outputs)


def _with_line(likelihood: cv.Likelihood, outputs: np.ndarray, reach: float) -> LikelihoodExample:
    """With the trapezoid rule on ±``reach``: it converges faster than any power; 10 standard deviations lose e^-50."""
    line = np.linspace(-reach, reach, 801)
    return LikelihoodExample(type(likelihood).__name__, likelihood, outputs, line[:, None], np.full(801, line[1] - line[0]))
