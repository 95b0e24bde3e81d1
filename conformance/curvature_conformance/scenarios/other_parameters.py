"""Parameters that are no weights of an affine layer: a scale, and a distribution without inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

import curvature as cv

from ..scenario import Exact, Scenario
from .assemble import assemble
from .output_terms import bernoulli, gaussian, poisson

Array = Any

_SCALE = Exact(
    "kfac", ("fisher", "ggn"), "blocks", "a scale has a dense block of its own; the last layer with squared error is exact"
)
_DENSE = Exact("kfac", ("fisher", "ggn", "empirical-fisher"), "blocks", "parameters outside of layers have a dense block")


def _scaled(params: dict[str, Array], x: Array) -> Array:
    return (x * params["scale"]) @ params["weight"]


def elementwise_scale() -> Scenario:
    """f_c = Σ_i x_i s_i W_ic."""
    rng = np.random.default_rng(10)
    x, scale, w = rng.standard_normal((6, 3)), 1 + 0.3 * rng.standard_normal(3), rng.standard_normal((3, 2))
    f = (x * scale) @ w
    y, n, eye = f + rng.standard_normal((6, 2)), 6, np.eye(2)
    left = np.einsum("ni,ic->nci", x, w)
    right = np.einsum("ni,dc->ncid", x * scale, eye).reshape(n, 2, 6)
    cross = np.einsum("ni,ij,dc->ncijd", x, np.eye(3), eye).reshape(n, 2, 3, 6)
    second = np.zeros((n, 2, 9, 9))
    second[:, :, :3, 3:] = cross
    second[:, :, 3:, :3] = cross.transpose(0, 1, 3, 2)
    return Scenario(
        "elementwise-scale/squared-error",
        "inputs scaled elementwise before a layer: the scale enters outside of any affine map",
        _scaled,
        {"scale": scale, "weight": w},
        cv.Gaussian(),
        x,
        y,
        assemble(np.concatenate([left, right], axis=2), gaussian(f, y, 1.0), second=second),
        (("scale",), ("weight",)),
        theorems=(_SCALE,),
    )


def _itself(params: dict[str, Array], x: None) -> Array:
    return params["outputs"]


def without_inputs(kind: str) -> Scenario:
    """p(y | θ) with θ the outputs themselves: F is the likelihood's own."""
    rng = np.random.default_rng(11)
    theta, n = np.array([0.3, -0.8]), 5
    rates = np.broadcast_to(theta, (n, 2))
    if kind == "poisson":
        y = rng.poisson(np.exp(rates)).astype(float)
        likelihood: cv.Likelihood = cv.Poisson()
        terms = poisson(rates, y)
    else:
        y = (rng.random((n, 2)) < 0.5).astype(float)
        likelihood = cv.Bernoulli()
        terms = bernoulli(rates, y)
    return Scenario(
        f"no-inputs/{kind}",
        f"{kind} with its natural parameter as θ and no inputs: F = diag of the variance",
        _itself,
        {"outputs": theta},
        likelihood,
        None,
        y,
        assemble(np.broadcast_to(np.eye(2), (n, 2, 2)), terms),
        (("outputs",),),
        theorems=(_DENSE,),
    )


def one_number() -> Scenario:
    """A count with its log rate as the only parameter: F is the rate, and there is nothing to approximate."""
    theta, y = np.array([0.7]), np.array([[1.0], [4.0], [0.0], [2.0]])
    return Scenario(
        "no-inputs/one-number",
        "four counts of one log rate: F is one number, the rate",
        _itself,
        {"outputs": theta},
        cv.Poisson(),
        None,
        y,
        assemble(np.ones((4, 1, 1)), poisson(np.broadcast_to(theta, (4, 1)), y)),
        (("outputs",),),
    )
