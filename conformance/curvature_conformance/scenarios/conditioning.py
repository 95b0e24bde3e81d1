"""Linear models that are badly scaled, nearly singular or exactly singular."""

from __future__ import annotations

import numpy as np

import curvature as cv

from ..scenario import Scenario
from .assemble import assemble
from .linear_models import linear_regression_on, vector_model
from .output_terms import bernoulli


def badly_scaled() -> Scenario:
    """Features in units that differ by up to 3000, each with a coefficient that makes up for it."""
    rng = np.random.default_rng(31)
    scale = np.array([0.003, 0.03, 1.0, 9.0])
    x, w = rng.standard_normal((7, 4)) * scale, rng.standard_normal(4) / scale
    y = (rng.random(7) < 0.5).astype(float)
    return Scenario(
        "logistic-regression/badly-scaled",
        "logistic regression on features of scales 0.003 to 9: the condition of F is above 1e7",
        vector_model,
        {"weight": w},
        cv.Bernoulli(),
        x,
        y,
        assemble(x[:, None, :], bernoulli((x @ w)[:, None], y[:, None])),
        (("weight",),),
    )


def rank_deficient() -> Scenario:
    """Three examples for four coefficients of each response, one feature twice: F has rank 6 of 8 at most."""
    rng = np.random.default_rng(32)
    x = rng.standard_normal((3, 3))
    x[:, 2] = x[:, 0]
    summary = "fewer examples than coefficients, and one feature twice: F is exactly singular"
    return linear_regression_on(x, rng, "rank-deficient", summary)


def near_singular() -> Scenario:
    """Two features that agree to 1e-4."""
    rng = np.random.default_rng(33)
    x = rng.standard_normal((7, 3))
    x[:, 2] = x[:, 0] + 2e-4 * x[:, 2]
    summary = "two features that agree to four digits: the smallest eigenvalue of F is about 1e-8 of the largest"
    return linear_regression_on(x, rng, "near-singular", summary)
