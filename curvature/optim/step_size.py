"""Rules for how far to go along a natural-gradient direction: small policy objects that a third party can write too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Protocol

from ..errors import DataError
from .local import Along


class LearningRate(Protocol):
    """What an optimiser asks of a rule for its learning rate.

    A rule with ``carries = True`` is given the previous update as a second direction where there is one. One with
    ``measures = True`` looks at the objective itself. Numbers that it puts into ``along.memory``, a tuple of floats, it finds
    in ``along.local.memory`` at the step after the one that is taken, also in a run that was saved and loaded.
    """

    def choose(self, along: Along) -> list[float] | None:
        """Coefficients of ``along.directions``; None where no point of them is worth going to."""
        ...


@dataclass(frozen=True)
class Fixed:
    """δ = α d_1 + μ δ_prev with given numbers.

    Attributes:
        rate: α. momentum: μ.
    """

    rate: float
    momentum: float = 0.0

    @property
    def carries(self) -> bool:
        """Whether the previous update takes part."""
        return self.momentum > 0

    def choose(self, along: Along) -> list[float]:
        return [self.rate, self.momentum][: len(along.directions)]


@dataclass(frozen=True)
class QuadraticModel:
    """Learning rate α and momentum μ that minimise the exact quadratic model over span{Δ, δ_prev}.

    δ = α Δ + μ δ_prev with [α, μ] = -B⁻¹ [∇h·Δ, ∇h·δ_prev], B_ij = d_iᵀ (F + (λ + l2) I) d_j: two forward derivatives
    (Martens and Grosse 2015, §6.4 and §7).

    Attributes:
        momentum: whether the previous update takes part.
    """

    momentum: bool = True

    @property
    def carries(self) -> bool:
        """Whether the previous update takes part."""
        return self.momentum

    def choose(self, along: Along) -> list[float]:
        return minimise_quadratic(along.gram, along.slopes)


@dataclass(frozen=True)
class AveragedModel:
    """α of the quadratic model, averaged over steps, and a fixed momentum: for minibatches, whose noise a model of one fits.

    δ = α_k Δ + μ δ_prev, α_k = κ ā (1 + k/K)^-½, ā the moving average of a = -∇h·Δ / Δᵀ (F + (λ + l2) I) Δ, which is measured
    every ``interval`` steps. Where α² |∇h·Δ| ≈ α² ΔᵀF̂Δ is above ``bound``, α and μ are made smaller (Ba, Grosse and Martens
    2017). What is left of the noise the Polyak average of the parameters takes out. The first ``greedy`` steps, in which all
    batches ask for the same, are those of ``QuadraticModel``.

    Attributes:
        momentum: μ. share: κ. horizon: K. greedy, interval: as above. decay: of the moving average, for each measurement.
        bound: of the step in the norm of F̂.

    Source: found by experiment (``benchmarks/training``); the K^-½ and the average are those of Polyak and Juditsky (1992).
    """

    carries: ClassVar[bool] = True
    momentum: float = 0.9
    share: float = 0.7
    horizon: float = 300.0
    greedy: int = 100
    interval: int = 5
    decay: float = 0.9
    bound: float = 1.0

    def __post_init__(self) -> None:
        for name in ("momentum", "decay"):
            if not 0 <= getattr(self, name) < 1:
                raise DataError(f"{name} of AveragedModel lies in [0, 1), got {getattr(self, name)!r}")
        for name in ("share", "horizon", "bound"):
            if not getattr(self, name) > 0:
                raise DataError(f"{name} of AveragedModel is positive, got {getattr(self, name)!r}")
        for name, least in (("greedy", 0), ("interval", 1)):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= least):
                raise DataError(f"{name} of AveragedModel is an integer ≥ {least}, got {getattr(self, name)!r}")

    def choose(self, along: Along) -> list[float]:
        step, last = along.local.step, along.local.rate
        if step < self.greedy:
            chosen = minimise_quadratic(along.gram, along.slopes)
        else:
            average = None if last is None else last / self._share(step - 1)
            if average is None or step % self.interval == 0:
                measured = minimise_quadratic([[along.gram[0][0]]], along.slopes[:1])[0]
                average = measured if average is None else self.decay * average + (1 - self.decay) * measured
            chosen = [self._share(step) * average, self.momentum][: len(along.directions)]
        length = chosen[0] ** 2 * abs(along.slopes[0])
        shrink = math.sqrt(self.bound / length) if length > self.bound else 1.0
        return [c * shrink for c in chosen]

    def _share(self, step: int) -> float:
        """α_k / ā; the greedy steps have the whole of it."""
        return 1.0 if step < self.greedy else self.share / math.sqrt(1 + step / self.horizon)


@dataclass(frozen=True)
class SmoothedModel:
    """α and μ of the quadratic model, averaged over steps, and α shortened where steps overshoot on the data of the next.

    δ = min(κ ᾱ, α) Δ + μ̄ δ_prev: μ̄ the moving average of the model's μ within [0, ``limit``], ᾱ that of the α that goes with it,
    which counts as 2ᾱ where it is more (the α of a minibatch that is fitted perfectly has no bound). What a model of one
    minibatch gains by fitting its noise the next one does not see: there the slope along the step that was taken, r = ∇h·δ_prev
    over what the terms of its model came to, is positive, and κ ← κ e^(-η r), within [``least``, 1]. Costs no evaluation: the
    gradient is there anyway.

    Attributes:
        decay: of the moving averages. limit: of μ. adaptation: η. least: κ does not fall below it.
        warm: steps before the averages begin, in which the curvature changes fast.

    Source: found by experiment (``benchmarks/training``); a learning rate that follows the product of successive gradients is
    that of Almeida et al. (1998) and of Baydin et al. (2018).
    """

    carries: ClassVar[bool] = True
    decay: float = 0.9
    limit: float = 0.95
    adaptation: float = 0.1
    least: float = 0.003
    warm: int = 20

    def __post_init__(self) -> None:
        for name in ("decay", "limit"):
            if not 0 <= getattr(self, name) < 1:
                raise DataError(f"{name} of SmoothedModel lies in [0, 1), got {getattr(self, name)!r}")
        if not 0 < self.least <= 1:
            raise DataError(f"least of SmoothedModel lies in (0, 1], got {self.least!r}")
        if not self.adaptation >= 0:
            raise DataError(f"adaptation of SmoothedModel is ≥ 0, got {self.adaptation!r}")
        if not (isinstance(self.warm, int) and self.warm >= 0):
            raise DataError(f"warm of SmoothedModel is an integer ≥ 0, got {self.warm!r}")

    def choose(self, along: Along) -> list[float]:
        local = along.local
        kappa, rate, carried, size = local.memory or (1.0, math.nan, math.nan, 0.0)
        if local.previous is not None and size > 0:
            overshoot = local.dot(local.gradient, local.previous) / size
            kappa = min(max(kappa * math.exp(-self.adaptation * min(max(overshoot, -1.0), 1.0)), self.least), 1.0)
        gram, slopes = along.gram, along.slopes
        momentum = min(max(minimise_quadratic(gram, slopes)[1], 0.0), self.limit) if len(slopes) == 2 else 0.0
        pull = slopes[0] + (momentum * gram[0][1] if momentum else 0.0)
        alpha = -pull / gram[0][0] if gram[0][0] > 0 else 0.0
        if local.step <= self.warm or math.isnan(rate):
            rate, carried = alpha, momentum
        else:
            rate = self.decay * rate + (1 - self.decay) * min(alpha, 2 * rate)
            carried = self.decay * carried + (1 - self.decay) * momentum
        chosen = [min(kappa * rate, alpha), carried][: len(slopes)]
        along.memory = (kappa, rate, carried, along.size(chosen))
        return chosen


@dataclass(frozen=True)
class Backtracking:
    """α = initial, halved until the objective falls by ``slope`` · α · |∇h·Δ| (Armijo 1966).

    Attributes:
        initial: first α.
        slope: fraction of the linear decrease that is asked for.
        halvings: how often at most; then the step is not taken.
    """

    measures: ClassVar[bool] = True
    initial: float = 1.0
    slope: float = 1e-4
    halvings: int = 30

    def choose(self, along: Along) -> list[float] | None:
        rate, start = self.initial, along.local.value
        # At the optimum the decrease is below what rounding of the objective shows.
        slack = along.local.rounding / 2
        for _ in range(self.halvings + 1):
            after = along.value([rate])
            if math.isfinite(after) and after <= start + self.slope * rate * along.slopes[0] + slack:
                return [rate]
            rate *= 0.5
        return None


@dataclass(frozen=True)
class LineSearch:
    """α of the last step, doubled while the objective falls further, or halved until it falls at all.

    Attributes:
        initial: α that the first step starts from.
        halvings: how often at most it is doubled or halved in one step.
    """

    measures: ClassVar[bool] = True
    initial: float = 1.0
    halvings: int = 20

    def choose(self, along: Along) -> list[float] | None:
        rate = along.local.rate or self.initial
        best = along.value([rate])
        if best < along.local.value:
            for _ in range(self.halvings):
                further = along.value([2 * rate])
                if not further < best:
                    break
                rate, best = 2 * rate, further
            return [rate]
        for _ in range(self.halvings):
            rate *= 0.5
            if rate * abs(along.slopes[0]) <= along.local.rounding:
                return None
            if along.value([rate]) < along.local.value:
                return [rate]
        return None


def is_number(value: object) -> bool:
    """Whether it is a real number of Python or NumPy."""
    return isinstance(value, Real)


def as_learning_rate(rate: Any, momentum: float) -> LearningRate:
    """A rule, or a learning rate as a Python number (a NumPy scalar would promote float32 arrays).

    Raises:
        DataError: if it is neither a rule nor a positive number.
    """
    if hasattr(rate, "choose") and not (isinstance(rate, type) or is_number(rate)):  # NumPy's numbers have a ``choose``
        if momentum:
            raise DataError(f"momentum={momentum} goes with a learning rate that is a number; {rate!r} has its own rule")
        rule: LearningRate = rate
        return rule
    if not (is_number(rate) and math.isfinite(rate) and rate > 0):
        raise DataError(f"the learning rate is a positive number, QuadraticModel() or Backtracking(), got {rate!r}")
    return Fixed(float(rate), momentum)


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
