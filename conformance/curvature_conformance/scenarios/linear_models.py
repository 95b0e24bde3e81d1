"""Generalised linear models: logistic, Poisson, linear and multinomial logistic regression."""

from __future__ import annotations

from typing import Any

import numpy as np

import curvature as cv

from ..scenario import Exact, Scenario
from .assemble import assemble
from .output_terms import bernoulli, categorical, gaussian, poisson

Array = Any

# One output and one layer: g is a number, and its second moment depends on the example unless the variance is constant.
_SOFTMAX = Exact(
    "kfac", ("fisher", "ggn"), "blocks", "K-FAC factors E[a aᵀ ⊗ g gᵀ]; with softmax E[g gᵀ] depends on the example", holds=False
)
LAST_LAYER = Exact("kfac", ("fisher", "ggn"), "blocks", "the last layer with squared error: g gᵀ does not depend on the example")


def vector_model(params: dict[str, Array], x: Array) -> Array:
    """x w."""
    return x @ params["weight"]


def affine_model(params: list[Array], x: Array) -> Array:
    """x W + b."""
    weight, bias = params
    return x @ weight + bias


def affine_jacobian(x: np.ndarray, outputs: int) -> np.ndarray:
    """∂(x W + b)_c / ∂(W, b), (N, C, (d + 1) C): rows of W, then b."""
    extended = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    return np.einsum("ni,jc->ncij", extended, np.eye(outputs)).reshape(len(x), outputs, -1)


def logistic() -> Scenario:
    """F = Xᵀ diag(p (1 - p)) X / N."""
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((7, 4)), rng.standard_normal(4)
    y = (rng.random(7) < 0.5).astype(float)
    terms = bernoulli((x @ w)[:, None], y[:, None])
    return Scenario(
        "logistic-regression/plain",
        "logistic regression with a vector of coefficients: F = H = Xᵀ diag(p (1 - p)) X / N",
        vector_model,
        {"weight": w},
        cv.Bernoulli(),
        x,
        y,
        assemble(x[:, None, :], terms),
        (("weight",),),
    )


def poisson_regression() -> Scenario:
    """F = Xᵀ diag(λ) X / N."""
    rng = np.random.default_rng(2)
    x, w, b = rng.standard_normal((6, 3)), 0.4 * rng.standard_normal((3, 2)), 0.3 * rng.standard_normal(2)
    y = rng.poisson(np.exp(x @ w + b)).astype(float)
    return Scenario(
        "poisson-regression/plain",
        "Poisson regression with log link, two responses: F = H = Xᵀ diag(λ) X / N for each",
        affine_model,
        [w, b],
        cv.Poisson(),
        x,
        y,
        assemble(affine_jacobian(x, 2), poisson(x @ w + b, y)),
        (("0", "1"),),
    )


def linear_regression() -> Scenario:
    """F = Xᵀ X / (N σ²)."""
    rng = np.random.default_rng(3)
    summary = "Gaussian with variance 0.25: F = H = XᵀX / (N σ²), whatever the targets"
    return linear_regression_on(rng.standard_normal((7, 3)), rng, "known-variance", summary)


def linear_regression_on(x: np.ndarray, rng: np.random.Generator, variant: str, summary: str) -> Scenario:
    """Two responses of variance ¼ to three features."""
    w, b = rng.standard_normal((3, 2)), rng.standard_normal(2)
    y, variance = x @ w + b + 0.5 * rng.standard_normal((len(x), 2)), 0.25
    return Scenario(
        f"linear-regression/{variant}",
        summary,
        affine_model,
        [w, b],
        cv.Gaussian(variance=variance),
        x,
        y,
        assemble(affine_jacobian(x, 2), gaussian(x @ w + b, y, variance)),
        (("0", "1"),),
        theorems=(LAST_LAYER,),
    )


def softmax_regression() -> Scenario:
    """F = E[(diag p - p pᵀ) ⊗ x xᵀ]."""
    rng = np.random.default_rng(4)
    x, w, b = rng.standard_normal((8, 3)), rng.standard_normal((3, 3)), rng.standard_normal(3)
    y = rng.integers(0, 3, 8)
    return Scenario(
        "softmax-regression/plain",
        "multinomial logistic regression: F = H = E[x xᵀ ⊗ (diag p - p pᵀ)], which is no Kronecker product",
        affine_model,
        [w, b],
        cv.Categorical(),
        x,
        y,
        assemble(affine_jacobian(x, 3), categorical(x @ w + b, y)),
        (("0", "1"),),
        theorems=(_SOFTMAX,),
    )
