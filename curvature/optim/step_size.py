"""Rules for how far to go along a natural-gradient direction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ..errors import DataError


@dataclass(frozen=True)
class QuadraticModel:
    """Learning rate α and momentum μ that minimise the exact quadratic model over span{Δ, δ_prev}.

    δ = α Δ + μ δ_prev with [α, μ] = -B⁻¹ [∇h·Δ, ∇h·δ_prev], B_ij = d_iᵀ (F + (λ + l2) I) d_j: two forward derivatives
    (Martens and Grosse 2015, §6.4 and §7).

    Attributes:
        momentum: whether the previous update takes part.
    """

    momentum: bool = True


@dataclass(frozen=True)
class Backtracking:
    """α = initial, halved until the objective falls by ``slope`` · α · |∇h·Δ| (Armijo 1966).

    Attributes:
        initial: first α.
        slope: fraction of the linear decrease that is asked for.
        halvings: how often at most; then the step is not taken.
    """

    initial: float = 1.0
    slope: float = 1e-4
    halvings: int = 30


StepSize = float | QuadraticModel | Backtracking


def is_number(value: object) -> bool:
    """Whether it is a real number of Python or NumPy."""
    return isinstance(value, Real)


def as_step_size(step_size: Any) -> StepSize:
    """A rule, or a learning rate as a Python number (a NumPy scalar would promote float32 arrays).

    Raises:
        DataError: if it is neither a rule nor a positive number.
    """
    if isinstance(step_size, (QuadraticModel, Backtracking)):
        return step_size
    if not (is_number(step_size) and math.isfinite(step_size) and step_size > 0):
        raise DataError(f"the learning rate is a positive number, QuadraticModel() or Backtracking(), got {step_size!r}")
    return float(step_size)


def minimise_quadratic(gram: list[list[float]], slopes: list[float]) -> list[float]:
    """-B⁻¹ s for a 1 × 1 or 2 × 2 positive definite B; directions that are (nearly) parallel leave the first alone."""
    if len(slopes) == 2:
        (a, b), (_, d) = gram
        determinant = a * d - b * b
        if determinant > 1e-12 * a * d > 0:
            s, t = slopes
            return [-(d * s - b * t) / determinant, -(a * t - b * s) / determinant]
    first = -slopes[0] / gram[0][0] if gram[0][0] > 0 else 0.0
    return [first] + [0.0] * (len(slopes) - 1)
