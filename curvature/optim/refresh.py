"""When the operator is built anew from the averaged statistics: on a schedule, or when they have drifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..backend import namespace
from ..errors import DataError
from ..trees import leaves

Tree = Any


class Refresh(Protocol):
    """What an optimiser asks of a rule for refreshing."""

    def due(self, age: int, statistics: Tree, built: Tree) -> bool:
        """Whether to build anew, ``age`` ≥ 1 steps after it was built from the statistics ``built``."""
        ...


@dataclass(frozen=True)
class Every:
    """Every so many steps."""

    steps: int = 1

    def due(self, age: int, statistics: Tree, built: Tree) -> bool:
        return age >= self.steps


@dataclass(frozen=True)
class Drift:
    """When the statistics T have moved by ‖T - T_built‖_F > tolerance · ‖T_built‖_F in any of their arrays.

    Attributes:
        tolerance: relative change.
        at_most: steps after which it is built in any case.
        check_every: steps between measurements, which read the statistics once.
    """

    tolerance: float = 0.1
    at_most: int = 100
    check_every: int = 1

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise DataError(f"the tolerance of a drift is positive, got {self.tolerance!r}")
        if not (self.at_most >= 1 and self.check_every >= 1):
            raise DataError(f"at_most and check_every are ≥ 1, got {self.at_most!r} and {self.check_every!r}")

    def due(self, age: int, statistics: Tree, built: Tree) -> bool:
        if age >= self.at_most:
            return True
        return age % self.check_every == 0 and drift(statistics, built) > self.tolerance


def drift(statistics: Tree, built: Tree) -> float:
    """The largest ‖T - T_built‖_F / ‖T_built‖_F of the arrays of two statistics; infinite where their shapes differ."""
    worst = 0.0
    for now, then in zip(leaves(statistics), leaves(built), strict=True):
        if tuple(now.shape) != tuple(then.shape):
            return float("inf")
        xp = namespace(now)
        if not xp.isdtype(now.dtype, "real floating"):
            continue
        moved, size = float(xp.sum((now - then) ** 2)), float(xp.sum(then * then))
        worst = max(worst, (moved / size) ** 0.5 if size > 0 else (float("inf") if moved > 0 else 0.0))
    return worst


def as_refresh(rule: Any) -> Refresh:
    """A rule, from a number of steps or a rule.

    Raises:
        DataError: if it is neither.
    """
    if hasattr(rule, "due") and not isinstance(rule, type):
        given: Refresh = rule
        return given
    if not (isinstance(rule, int) and rule >= 1):
        raise DataError(f"refresh_every is a positive integer or a rule such as curvature.optim.Drift(), got {rule!r}")
    return Every(rule)
