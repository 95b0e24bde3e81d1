"""Quantiles of Student's t distribution, with nothing but the standard library."""

from __future__ import annotations

import math
from statistics import NormalDist

LARGE = 200
"""Degrees of freedom beyond which the expansion about the normal quantile is exact to 1e-9."""


def student_quantile(probability: float, degrees: int) -> float:
    """t with P(T ≤ t) = ``probability``, for T of ``degrees`` degrees of freedom.

    The distribution function is the finite sum of Abramowitz and Stegun (1964, 26.7.3 and 26.7.4), inverted by bisection;
    for many degrees of freedom, their expansion 26.7.5 about the normal quantile.

    Raises:
        ValueError: if the probability does not lie between 0 and 1, or there is no degree of freedom.
    """
    if not 0.0 < probability < 1.0:
        raise ValueError(f"a probability lies between 0 and 1, got {probability}")
    if degrees < 1:
        raise ValueError(f"Student's t distribution has one degree of freedom or more, got {degrees}")
    if probability < 0.5:
        return -student_quantile(1.0 - probability, degrees)
    if degrees > LARGE:
        return _expanded(NormalDist().inv_cdf(probability), degrees)
    # The angle θ = atan(t / √ν) runs through a bounded interval whatever t.
    low, high = 0.0, math.pi / 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if 0.5 + 0.5 * _central(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return math.tan((low + high) / 2) * math.sqrt(degrees)


def _central(angle: float, degrees: int) -> float:
    """P(|T| ≤ √ν tan(angle))."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2 == 1
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(1 if odd else 0, degrees - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    return (angle + sine * total) * 2 / math.pi if odd else sine * total


def _expanded(z: float, degrees: int) -> float:
    n = float(degrees)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )
