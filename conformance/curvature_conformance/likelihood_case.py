"""A likelihood at some outputs, with points at which it can be summed or integrated over y."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

import curvature as cv

from .setting import Setting

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
    """

    name: str
    likelihood: cv.Likelihood
    outputs: np.ndarray
    points: np.ndarray | None = None
    measure: np.ndarray | None = None


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
    """The library's likelihoods at moderate outputs."""
    two = np.array([[0.4, -0.7], [-1.2, 0.9]])
    bits = np.array(list(product((0.0, 1.0), repeat=2)))
    counts = np.arange(60.0)
    # The trapezoid rule converges faster than any power for a Gaussian; ±10 standard deviations lose e^-50.
    sigma = 0.8
    line = np.linspace(-10 * sigma - 2, 10 * sigma + 2, 801)
    ones = np.ones
    return (
        LikelihoodExample("Categorical", cv.Categorical(), np.array([[0.4, -0.7, 1.1], [2.0, 0.3, -1.0]]), np.arange(3), ones(3)),
        LikelihoodExample("Bernoulli", cv.Bernoulli(), two, bits, ones(4)),
        LikelihoodExample("Poisson", cv.Poisson(), np.array([[0.9], [-0.6]]), counts[:, None], ones(60)),
        LikelihoodExample(
            "Gaussian", cv.Gaussian(variance=sigma**2), np.array([[0.5], [-0.8]]), line[:, None], np.full(801, line[1] - line[0])
        ),
    )


def example_of(likelihood: cv.Likelihood) -> LikelihoodExample:
    """An example for any likelihood: the suite's own where it ships with the library, else expectations by drawing."""
    for example in shipped():
        if type(example.likelihood) is type(likelihood):
            if isinstance(likelihood, cv.Gaussian):
                continue  # its points are those of one variance
            return LikelihoodExample(example.name, likelihood, example.outputs, example.points, example.measure)
        if not isinstance(likelihood, cv.Gaussian) and isinstance(likelihood, type(example.likelihood)):
            return LikelihoodExample(type(likelihood).__name__, likelihood, example.outputs, example.points, example.measure)
    outputs = np.array([[0.4, -0.7], [-1.2, 0.9]])
    return LikelihoodExample(type(likelihood).__name__, likelihood, outputs)
