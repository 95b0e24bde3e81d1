"""Bounds on the length of a step: small policy objects that a third party can write too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import DataError
from .local import Along
from .step_size import is_number


class TrustRegion(Protocol):
    """What an optimiser asks of a bound."""

    def shrink(self, along: Along, coefficients: Sequence[float]) -> float:
        """What the coefficients are multiplied by, in (0, 1]."""
        ...


@dataclass(frozen=True)
class KLTrustRegion:
    """½ δᵀFδ ≤ bound, which approximates the Kullback-Leibler divergence between the models before and after the step.

    With the exact F, by one forward derivative for each direction. Source: Schulman, Levine, Moritz, Jordan and Abbeel (2015).
    """

    bound: float

    def __post_init__(self) -> None:
        _check("trust_region", self.bound)

    def shrink(self, along: Along, coefficients: Sequence[float]) -> float:
        return _ratio(self.bound, along.divergence(coefficients))


@dataclass(frozen=True)
class FisherNorm:
    """δᵀ F̂ δ ≤ bound by α² |∇h·Δ|, which the approximation itself gives for nothing: clipping in the norm of the Fisher.

    Source: Ba, Grosse and Martens (2017), "Distributed second-order optimization using Kronecker-factored approximations", §5.
    """

    bound: float

    def __post_init__(self) -> None:
        _check("FisherNorm", self.bound)

    def shrink(self, along: Along, coefficients: Sequence[float]) -> float:
        return _ratio(self.bound, coefficients[0] ** 2 * abs(along.slopes[0]))


@dataclass(frozen=True)
class NormConstraint:
    """‖δ‖² ≤ bound, in the Euclidean norm (Goldshlager, Abrahamsen and Lin 2024)."""

    bound: float

    def __post_init__(self) -> None:
        _check("NormConstraint", self.bound)

    def shrink(self, along: Along, coefficients: Sequence[float]) -> float:
        update = along.update(coefficients)
        return _ratio(self.bound, along.local.dot(update, update))


def as_trust_region(region: Any) -> TrustRegion | None:
    """A rule, from a rule or a bound of the KL divergence.

    Raises:
        DataError: if it is none of them.
    """
    if region is None:
        return None
    if hasattr(region, "shrink") and not isinstance(region, type):
        rule: TrustRegion = region
        return rule
    return KLTrustRegion(float(region) if is_number(region) else region)


def _ratio(bound: float, size: float) -> float:
    return math.sqrt(bound / size) if size > bound else 1.0


def _check(name: str, bound: Any) -> None:
    if not (is_number(bound) and math.isfinite(bound) and bound > 0):
        raise DataError(f"{name} is a positive bound or None, got {bound!r}")
