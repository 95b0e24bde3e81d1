"""Rules for the damping λ of a natural-gradient step: small policy objects that a third party can write too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

from ..errors import DataError


class Damping(Protocol):
    """What an optimiser asks of a damping rule."""

    @property
    def initial(self) -> float:
        """λ at the start."""
        ...

    @property
    def interval(self) -> int:
        """Steps between updates; 0: never, and then no reduction ratio is computed."""
        ...

    def update(self, damping: float, ratio: float) -> float:
        """The next λ, from the reduction ratio ρ = (actual change of the objective) / (change of the quadratic model)."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same λ throughout."""

    initial: float = 1e-3
    interval: int = 0

    def __post_init__(self) -> None:
        _check("damping", self.initial)

    def update(self, damping: float, ratio: float) -> float:
        return damping


@dataclass(frozen=True)
class LevenbergMarquardt:
    """λ falls by ω^interval where ρ > 3/4 and rises by it where ρ < 1/4 (Martens and Grosse 2015, §6.5).

    Attributes:
        initial: λ at the start.
        interval: steps between updates.
        factor: ω, between 0 and 1.
        minimum, maximum: bounds of λ.
    """

    initial: float = 1.0
    interval: int = 5
    factor: float = 19 / 20
    minimum: float = 1e-8
    maximum: float = 1e8

    def __post_init__(self) -> None:
        _check("initial damping", self.initial)
        if not (isinstance(self.interval, int) and self.interval >= 1):
            raise DataError(f"the damping is updated every interval ≥ 1 steps, got {self.interval!r}")
        if not 0 < self.factor < 1:
            raise DataError(f"the damping factor lies between 0 and 1, got {self.factor}")

    def update(self, damping: float, ratio: float) -> float:
        change = self.factor**self.interval
        if not math.isfinite(ratio) or ratio < 0.25:
            damping = damping / change
        elif ratio > 0.75:
            damping = damping * change
        return min(max(damping, self.minimum), self.maximum)


def as_damping(damping: Any) -> Damping:
    """A damping rule from a number or a rule.

    Raises:
        DataError: if it is neither.
    """
    if isinstance(damping, Real):
        return Constant(float(damping))
    if isinstance(damping, type) or not all(hasattr(damping, name) for name in ("initial", "interval", "update")):
        raise DataError(f"damping is a number ≥ 0 or a rule such as curvature.LevenbergMarquardt(1.0), got {damping!r}")
    rule: Damping = damping
    return rule


def _check(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"the {name} is a finite number ≥ 0, got {value}")
