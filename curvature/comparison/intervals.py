"""95 % confidence intervals, and bounds for what an iteration leaves open."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..linalg import Estimate
from ..linalg.student import student_quantile
from .number import Number

LEVEL = 0.95


def interval(found: Estimate) -> Number:
    """An estimate as a number with its 95 % interval."""
    return Number.estimated(float(found.value), *(float(x) for x in found.interval(LEVEL)))


def mean_of(samples: np.ndarray) -> Number:
    """The mean of independent samples with Student's interval."""
    n = samples.shape[0]
    half = student_quantile(0.5 + LEVEL / 2, n - 1) * float(np.std(samples, ddof=1)) / n**0.5
    return Number.within(float(np.mean(samples)), half)


def blurred(
    cosine: Number,
    step: Number,
    exact: np.ndarray | None,
    residual: float,
    damping: float,
    product: Callable[[np.ndarray], np.ndarray],
) -> tuple[Number, Number]:
    """The two with bounds for what the residual r of the exact natural gradient x̂ leaves open.

    ‖x̂ - x‖ ≤ ‖r‖ / δ bounds the angle between x̂ and x, and ‖x̂ - x‖_{F+δI} ≤ ‖r‖ / √δ the relative error.
    """
    if exact is None or residual == 0:
        return cosine, step
    if cosine.value is not None:
        ratio = min(residual / damping / float(np.linalg.norm(exact)), 1.0)
        angle, slack = math.acos(min(max(cosine.value, -1.0), 1.0)), math.asin(ratio)
        cosine = Number.estimated(cosine.value, math.cos(min(angle + slack, math.pi)), math.cos(max(angle - slack, 0.0)))
    if step.value is not None:
        size = float(exact @ product(exact)) ** 0.5
        open_ = residual / damping**0.5 / size
        if open_ < 1:
            low, high = max(step.value - open_, 0.0) / (1 + open_), (step.value + open_) / (1 - open_)
            step = Number.estimated(step.value, low, high)
        else:
            step = Number.missing("not converged")
    return cosine, step
