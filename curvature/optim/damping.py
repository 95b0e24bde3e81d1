"""Rules for the damping λ of a natural-gradient step: small policy objects that a third party can write too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

from ..errors import DataError


class Damping(Protocol):
    """What an optimiser asks of a damping rule.

    A rule may have more members. ``retries`` (0 without it) is how often a step that does not make the objective smaller is
    tried again at once, with ``update(damping, -inf)``. ``candidates(damping)`` (only that λ without it) gives the λ that are
    tried in a step; the one with the smallest objective is taken. ``floor`` (0 without it): share of the mean diagonal entry of
    F̂ below which λ does not fall. Of rules with retries: ``scaling`` (0 without it): λ diag(F)^scaling is added to a small
    dense matrix, in place of λI; ``takes_uphill(value, after, *, best, predicted, cosine)`` (never without it): whether a step
    is taken that does not make the objective smaller.
    """

    @property
    def initial(self) -> float | None:
        """λ at the start; None: found at the first step, by trying powers of ten of the curvature along the gradient."""
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
        initial: λ at the start; None: calibrated at the first step.
        interval: steps between updates.
        factor: ω, between 0 and 1.
        minimum, maximum: bounds of λ.
        floor: share of the mean diagonal entry of F̂ below which λ does not fall: on minibatches what is smaller is noise of the
            statistics, and a λ that follows the ratio alone falls until the steps fit that.
    """

    initial: float | None = 1.0
    interval: int = 5
    factor: float = 19 / 20
    minimum: float = 1e-8
    maximum: float = 1e8
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.initial is not None:
            _check("initial damping", self.initial)
        _check("floor", self.floor)
        _positive("interval", self.interval, "the damping is updated every interval ≥ 1 steps")
        if not 0 < self.factor < 1:
            raise DataError(f"the damping factor lies between 0 and 1, got {self.factor}")

    def update(self, damping: float, ratio: float) -> float:
        change = self.factor**self.interval
        if not math.isfinite(ratio) or ratio < 0.25:
            damping = damping / change
        elif ratio > 0.75:
            damping = damping * change
        return min(max(damping, self.minimum), self.maximum)


@dataclass(frozen=True)
class DelayedGratification:
    """λ falls by much after a step that makes the objective smaller, and rises by little, at once, where one does not.

    What a rule that lowers λ eagerly loses in steps that are refused it gains in directions that only a small λ opens: it stays
    near the bottom of narrow valleys, where the ratio of actual to predicted change would keep λ large. Where the model promises
    little, |M(δ) - M(0)| < ``slow`` · h, a step may also lead uphill along the valley, from h to h⁺ ≤ ``uphill`` · h*, h* the
    least objective so far, if (1 - β)^``boldness`` · h⁺ ≤ h*, β the cosine between the step and the one before: a narrow
    valley that bends is left behind in tens of steps, not in thousands. (So the last parameters need not
    be the best; ``NaturalGradient.best`` gives those.)

    Attributes:
        initial: λ at the start; None: calibrated at the first step.
        rise: what λ is multiplied by where a step is refused.
        fall: what it is divided by after one that is taken.
        retries: refusals in a row after which a step is given up.
        minimum, maximum: bounds of λ.
        scaling: λ diag(F)^scaling is added to a matrix that is small and dense, λI to any other. 0 is Levenberg's damping,
            which holds on to parameters that hardly matter; 1 Marquardt's, which does not depend on the units of the parameters
            and lets those escape; ½ is between the two, and was best for both (``benchmarks/training``).
        boldness, slow, uphill: when a step uphill is taken; uphill = 1: never.

    Source: Transtrum and Sethna (2012), "Improvements to the Levenberg-Marquardt algorithm for nonlinear least-squares
    minimization".
    """

    initial: float | None = None
    rise: float = 1.7
    fall: float = 40.0
    retries: int = 60
    minimum: float = 1e-30
    maximum: float = 1e30
    scaling: float = 0.5
    interval: int = 1
    boldness: float = 2.0
    slow: float = 0.3
    uphill: float = 10.0

    def __post_init__(self) -> None:
        if self.initial is not None:
            _check("initial damping", self.initial)
        if not (self.rise > 1 and self.fall >= 1):
            raise DataError(f"rise is > 1 and fall ≥ 1, got {self.rise} and {self.fall}")
        if not 0 <= self.scaling <= 1:
            raise DataError(f"the scaling of a damping lies in [0, 1], got {self.scaling}")
        if not (self.boldness >= 0 and self.slow >= 0 and self.uphill >= 1):
            raise DataError(f"boldness and slow are ≥ 0 and uphill is ≥ 1, got {self.boldness}, {self.slow} and {self.uphill}")
        _positive("retries", self.retries, "a step is tried again retries ≥ 1 times")

    def takes_uphill(self, value: float, after: float, *, best: float, predicted: float, cosine: float) -> bool:
        """Whether a step from the objective ``value`` to ``after`` is taken although that is no decrease."""
        if not (cosine > 0 and best > 0 and abs(predicted) < self.slow * value):
            return False
        return after < self.uphill * best and (1.0 - cosine) ** self.boldness * after <= best

    def update(self, damping: float, ratio: float) -> float:
        refused = not math.isfinite(ratio) or ratio <= 0
        damping = damping * self.rise if refused else damping / self.fall
        return min(max(damping, self.minimum), self.maximum)


@dataclass(frozen=True)
class DampingSearch:
    """λ/f, λ and fλ are tried in every step, and the one with the smallest objective is taken and kept.

    For objectives of which the Fisher information is the metric and not the Hessian, such as the energy of a wave function:
    their quadratic model says nothing of its length. Costs three solves and as many line searches in a step.

    Attributes:
        initial: λ at the start; None: calibrated at the first step.
        factor: f > 1.
        retries: how often all three are tried again with λ ten times f larger where none makes the objective smaller.
        minimum, maximum: bounds of λ.
    """

    initial: float | None = None
    factor: float = 3.0
    retries: int = 20
    minimum: float = 1e-12
    maximum: float = 1e12
    interval: int = 1

    def __post_init__(self) -> None:
        if self.initial is not None:
            _check("initial damping", self.initial)
        if not self.factor > 1:
            raise DataError(f"the factor of a damping search is > 1, got {self.factor}")
        _positive("retries", self.retries, "a step is tried again retries ≥ 1 times")

    def candidates(self, damping: float) -> tuple[float, ...]:
        """The dampings that are tried."""
        tried = (damping, damping / self.factor, damping * self.factor)
        return tuple(dict.fromkeys(min(max(value, self.minimum), self.maximum) for value in tried))

    def update(self, damping: float, ratio: float) -> float:
        if not math.isfinite(ratio) or ratio <= 0:
            damping = damping * 10 * self.factor
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


def retries_of(rule: Damping) -> int:
    """How often a refused step is tried again at once."""
    return int(getattr(rule, "retries", 0))


def candidates_of(rule: Damping, damping: float) -> tuple[float, ...]:
    """The λ that are tried in a step."""
    candidates = getattr(rule, "candidates", None)
    return (damping,) if candidates is None else tuple(float(value) for value in candidates(damping))


def _check(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"the {name} is a finite number ≥ 0, got {value}")


def _positive(name: str, value: int, meaning: str) -> None:
    if not (isinstance(value, int) and value >= 1):
        raise DataError(f"{meaning}, got {name}={value!r}")
