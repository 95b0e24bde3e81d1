"""Regressions with the likelihoods of positive numbers, angles and unknown variances: one affine layer, two outputs.

Those whose outputs are no natural parameters tell the GGN (the Hessian at the data) from the Fisher (its expectation). Their
targets are such that every example's Hessian in the outputs is positive semidefinite: of others a GGN has no factor.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import curvature as cv

from ..scenario import Exact, Scenario
from .assemble import assemble
from .linear_models import affine_jacobian, affine_model
from .output_terms import OutputTerms, exponential, gamma, heteroscedastic, von_mises

_CONSTANT = Exact("kfac", ("fisher",), "blocks", "one layer, and a Fisher information of the outputs that is the same for all")
_VARIES = Exact("kfac", ("fisher",), "blocks", "E[g gᵀ] depends on the example", holds=False)


def _scenario(
    name: str,
    summary: str,
    seed: int,
    bias: tuple[float, float],
    likelihood: cv.Likelihood,
    targets: Callable[[np.random.Generator, np.ndarray], np.ndarray],
    terms: Callable[[np.ndarray, np.ndarray], OutputTerms],
    theorem: Exact,
) -> Scenario:
    rng = np.random.default_rng(seed)
    x, w, b = rng.standard_normal((7, 3)), 0.3 * rng.standard_normal((3, 2)), np.array(bias)
    f = x @ w + b
    y = targets(rng, f)
    return Scenario(
        name,
        summary,
        affine_model,
        [w, b],
        likelihood,
        x,
        y,
        assemble(affine_jacobian(x, 2), terms(f, y)),
        (("0", "1"),),
        theorems=(theorem,),
    )


def exponential_regression() -> Scenario:
    """F = XᵀX / N for each response, H = Xᵀ diag(y exp f) X / N."""
    return _scenario(
        "exponential-regression/log-rate",
        "exponential distribution with log rate, two responses: F = XᵀX / N whatever the rates, and H = Xᵀ diag(y λ) X / N",
        21,
        (0.4, -0.6),
        cv.Exponential(),
        lambda rng, f: rng.exponential(np.exp(-f)),
        exponential,
        _CONSTANT,
    )


def gamma_regression() -> Scenario:
    """Shapes below one, and targets between 0.8 and 1.3 times the mean: there the Hessian in the outputs is positive."""
    return _scenario(
        "gamma-regression/log-shape-and-rate",
        "gamma distribution whose log shape and log rate are affine in x; its GGN is not its Fisher",
        22,
        (-1.3, 0.2),
        cv.Gamma(),
        lambda rng, f: rng.uniform(0.8, 1.3, len(f)) * np.exp(f[:, 0] - f[:, 1]),
        gamma,
        _VARIES,
    )


def heteroscedastic_regression() -> Scenario:
    """Targets at their means: elsewhere the Hessian in the outputs, of determinant -r²/2v, is indefinite."""
    return _scenario(
        "heteroscedastic-regression/targets-at-the-mean",
        "Gaussian, mean and log variance affine in x, residuals zero: F = E[Jᵀ diag(1/v, ½) J], the GGN without the ½",
        23,
        (0.3, -0.5),
        cv.HeteroscedasticGaussian(),
        lambda rng, f: f[:, 0].copy(),
        heteroscedastic,
        _VARIES,
    )


def von_mises_regression() -> Scenario:
    """F = H: f is the natural parameter."""
    return _scenario(
        "von-mises-regression/natural-parameter",
        "angles with the natural parameter κ (cos μ, sin μ) affine in x: F = H = E[Jᵀ Cov(cos y, sin y) J]",
        24,
        (1.5, -0.8),
        cv.VonMises(),
        lambda rng, f: rng.vonmises(np.arctan2(f[:, 1], f[:, 0]), np.hypot(f[:, 0], f[:, 1])),
        von_mises,
        _VARIES,
    )
