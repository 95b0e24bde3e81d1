"""A theorem about FOOF, for the conformance suite: a model with data, and references that were computed without the library."""

from __future__ import annotations

import math

import numpy as np

import curvature as cv
from curvature_conformance import Exact, References, Scenario

VARIANCE = 0.5


def apply(params, x):
    return x @ params["weight"] + params["bias"]


def linear_regression():
    """Two outputs with one variance: the Hessian in the outputs is I / σ² for every example, so that F = E[x̄ x̄ᵀ] ⊗ I / σ²."""
    rng = np.random.default_rng(2022)
    x, weight, bias = rng.normal(size=(6, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)
    means = x @ weight + bias
    y = means + rng.normal(size=(6, 2))
    # In flat order the bias comes before the rows of the weight: dictionaries are sorted by key.
    extended = np.concatenate([np.ones((6, 1)), x], axis=1)
    jacobian = np.einsum("ni,co->ncio", extended, np.eye(2)).reshape(6, 2, 8)
    fishers = np.einsum("ncp,ncq->npq", jacobian, jacobian) / VARIANCE
    references = References(
        share=np.full(6, 1 / 6),
        jacobian=jacobian,
        output_fisher=np.tile(np.eye(2) / VARIANCE, (6, 1, 1)),
        losses=np.sum((means - y) ** 2, axis=1) / (2 * VARIANCE) + math.log(2 * math.pi * VARIANCE),
        gradients=np.einsum("nc,ncp->np", means - y, jacobian) / VARIANCE,
        fishers=fishers,
        ggns=fishers,
        hessians=fishers,
    )
    exact = Exact("foof", ("fisher", "ggn"), "matrix", "E[g gᵀ] = I / σ² for every example")
    return Scenario(
        "foof/linear-regression",
        "two outputs of one variance, on which FOOF is exact",
        apply,
        {"weight": weight, "bias": bias},
        cv.Gaussian(variance=VARIANCE),
        x,
        y,
        references,
        layers=(("bias", "weight"),),
        theorems=(exact,),
    )
