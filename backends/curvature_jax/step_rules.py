"""Rules for damping, step size and trust region in a form that can be traced: arithmetic on arrays, and no ``if``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import jax.numpy as jnp

import curvature as cv

Array = Any
Schedule = Callable[[Array], Array]

START = 0.25
"""λ at the start, in mean diagonal entries of F̂. On networks 0.1 to 1 do as well; ``cv.NaturalGradient`` tries several."""


@dataclass(frozen=True)
class Damping:
    """λ: constant, by a schedule, or by Levenberg and Marquardt's rule.

    Attributes:
        initial: λ at the start; NaN: ``START`` of the mean diagonal entry of F̂, which is not known before the first step.
        schedule: λ as a function of the number of steps taken.
        rule: λ from the reduction ratio.
    """

    initial: float = 0.0
    schedule: Schedule | None = None
    rule: cv.LevenbergMarquardt | None = None

    @property
    def interval(self) -> int:
        """Steps between looks at the objective; 0: never."""
        return 0 if self.rule is None else self.rule.interval

    @property
    def needs_mean(self) -> bool:
        """Whether the mean diagonal entry of F̂ is asked for."""
        return self.rule is not None and (self.rule.floor > 0 or math.isnan(self.initial))

    def at(self, step: Array, damping: Array, mean: Array) -> Array:
        """λ of a step, from that in the state and the mean diagonal entry of F̂."""
        if self.schedule is not None:
            return jnp.asarray(self.schedule(step), damping.dtype)
        if self.rule is None or not math.isnan(self.initial):
            return damping
        start = jnp.clip(max(START, self.rule.floor) * mean, self.rule.minimum, self.rule.maximum)
        return jnp.where(jnp.isnan(damping), start, damping)

    def updated(self, damping: Array, ratio: Array, mean: Array) -> Array:
        """The next λ by ``curvature.LevenbergMarquardt.update``; a ratio of NaN says nothing, and leaves it as it is.

        ``mean`` is the mean diagonal entry of F̂, of which λ keeps the rule's share ``floor``.
        """
        rule = self.rule
        if rule is None:
            return damping
        change = rule.factor**rule.interval
        moved = jnp.where(jnp.isinf(ratio) | (ratio < 0.25), damping / change, jnp.where(ratio > 0.75, damping * change, damping))
        return jnp.where(jnp.isnan(ratio), damping, jnp.maximum(jnp.clip(moved, rule.minimum, rule.maximum), rule.floor * mean))


@dataclass(frozen=True)
class StepSize:
    """α and μ: given, or by the exact quadratic model.

    Attributes:
        rate: α, or a schedule of it; None: from the quadratic model.
        momentum: μ, where α is given.
        carries: whether the last update takes part.
        smoothed: the rule by which the model's α and μ are averaged over steps, or None.
    """

    rate: float | Schedule | None = None
    momentum: float = 0.0
    carries: bool = True
    smoothed: cv.optim.SmoothedModel | None = None

    def coefficients(self, step: Array, slopes: Array, gram: Array | None, memory: Array | None) -> tuple[Array, Array | None]:
        """([α, μ] or [α] alone, memory)."""
        if gram is not None and self.rate is None:
            if self.smoothed is not None and memory is not None:
                return smoothed(self.smoothed, step, slopes, gram, memory)
            return minimiser(gram, slopes), memory
        assert self.rate is not None
        rate = self.rate(step) if callable(self.rate) else self.rate
        return jnp.stack([jnp.asarray(c, slopes.dtype) for c in ([rate, self.momentum] if self.carries else [rate])]), memory


def smoothed(rule: cv.optim.SmoothedModel, step: Array, slopes: Array, gram: Array, memory: Array) -> tuple[Array, Array]:
    """([α, μ], memory) by ``curvature.optim.SmoothedModel``; without a last update its slope is zero, and κ stays."""
    kappa, rate, carried, size = memory
    overshoot = jnp.clip(slopes[1] / jnp.where(size > 0, size, 1.0), -1.0, 1.0)
    kappa = jnp.where(size > 0, jnp.clip(kappa * jnp.exp(-rule.adaptation * overshoot), rule.least, 1.0), kappa)
    momentum = jnp.clip(minimiser(gram, slopes)[1], 0.0, rule.limit)
    steep = gram[0, 0] > 0
    alpha = jnp.where(steep, -(slopes[0] + momentum * gram[0, 1]) / jnp.where(steep, gram[0, 0], 1.0), 0.0)
    first = (step <= rule.warm) | jnp.isnan(rate)
    rate = jnp.where(first, alpha, rule.decay * rate + (1 - rule.decay) * jnp.minimum(alpha, 2 * rate))
    carried = jnp.where(first, momentum, rule.decay * carried + (1 - rule.decay) * momentum)
    chosen = jnp.stack([jnp.minimum(kappa * rate, alpha), carried])
    size = jnp.sum(jnp.abs(chosen * slopes)) + 0.5 * chosen @ gram @ chosen
    return chosen, jnp.stack([kappa, rate, carried, size])


def minimiser(gram: Array, slopes: Array) -> Array:
    """-B⁻¹ s for B (1, 1) or (2, 2), positive definite; directions that are (nearly) parallel leave the first alone.

    In the normalised directions d_i / √B_ii, so that the squares of short directions do not leave float32.
    """
    lengths = jnp.sqrt(jnp.diagonal(gram))
    usable = lengths > 0
    safe = jnp.where(usable, lengths, 1.0)
    scaled = jnp.where(usable, slopes / safe, 0.0)
    first = jnp.zeros_like(slopes).at[0].set(-scaled[0] / safe[0])
    if len(slopes) == 1:
        return first
    cosine = gram[0, 1] / safe[0] / safe[1]
    determinant = 1.0 - cosine * cosine
    apart = usable[0] & usable[1] & (determinant > max(1e-12, 8 * float(jnp.finfo(gram.dtype).eps)))
    both = -(scaled - cosine * scaled[::-1]) / jnp.where(apart, determinant, 1.0) / safe
    return jnp.where(apart, both, first)


@dataclass(frozen=True)
class TrustRegion:
    """Bound of ½ δᵀFδ, of α² |∇h·Δ| or of ‖δ‖².

    Attributes:
        measure: "divergence", "metric" or "length".
        bound: of it.
    """

    measure: str
    bound: float

    def shrink(self, coefficients: Array, slopes: Array, fisher: Array | None, products: Array) -> Array:
        """What the coefficients are multiplied by, in (0, 1].

        Args:
            slopes: ∇h·d_i. fisher: d_iᵀ F d_j. products: d_i·d_j.
        """
        if self.measure == "divergence":
            size = 0.5 * coefficients @ fisher @ coefficients
        elif self.measure == "metric":
            size = coefficients[0] ** 2 * jnp.abs(slopes[0])
        else:
            size = coefficients @ products @ coefficients
        # A size that is not finite is for the step as a whole to refuse.
        return jnp.where(size > self.bound, jnp.sqrt(self.bound / jnp.where(size > 0, size, 1.0)), 1.0)


def as_damping(given: Any) -> Damping:
    """From a number, a schedule, ``curvature.optim.Constant`` or ``curvature.LevenbergMarquardt``.

    Raises:
        DataError: for a number that is no damping.
        UnsupportedError: for a rule that decides in Python.
    """
    if isinstance(given, Real):
        return Damping(cv.optim.Constant(float(given)).initial)
    if type(given) is cv.optim.Constant:
        return Damping(given.initial)
    if type(given) is cv.LevenbergMarquardt:
        return Damping(math.nan if given.initial is None else given.initial, rule=given)
    if callable(given) and not isinstance(given, type):
        return Damping(schedule=given)
    raise _python("damping", given, "decides in Python", "a number, an Optax schedule or curvature.LevenbergMarquardt()")


def as_step_size(rate: Any, momentum: Any) -> StepSize:
    """From a number, a schedule, "smoothed", "quadratic", or the rule of one of these.

    Raises:
        DataError: for numbers that are no learning rate or momentum.
        UnsupportedError: for a rule that decides in Python.
    """
    if not isinstance(momentum, Real):
        raise _python("momentum", momentum, "is a rule of its own", "a number in [0, 1)")
    mu = in_range("momentum", momentum, 1.0)
    if isinstance(rate, Real):
        if not (math.isfinite(rate) and float(rate) > 0):
            raise cv.DataError(f"the learning rate is positive, got {rate!r}")
        return StepSize(float(rate), mu, mu > 0)
    if callable(rate) and not isinstance(rate, type):
        return StepSize(rate, mu, mu > 0)
    if mu:
        raise cv.DataError(f"momentum={mu} goes with a learning rate that is a number or a schedule, not with {rate!r}")
    if isinstance(rate, str) and rate == "quadratic":
        return StepSize()
    if isinstance(rate, str) and rate == "smoothed":
        return StepSize(smoothed=cv.optim.SmoothedModel())
    if type(rate) is cv.optim.SmoothedModel:
        return StepSize(smoothed=rate)
    if type(rate) is cv.QuadraticModel:
        return StepSize(carries=rate.momentum)
    if type(rate) is cv.optim.Fixed:
        return StepSize(rate.rate, rate.momentum, rate.momentum > 0)
    works = 'a number, an Optax schedule, "smoothed", "quadratic" or one of their rules'
    raise _python("learning_rate", rate, "decides in Python", works)


def as_trust_region(given: Any) -> TrustRegion | None:
    """From None, a bound of the divergence, ``KLTrustRegion``, ``FisherNorm`` or ``NormConstraint``.

    Raises:
        DataError: for a number that is no bound.
        UnsupportedError: for a rule that decides in Python.
    """
    if given is None:
        return None
    if isinstance(given, Real):
        return TrustRegion("divergence", cv.KLTrustRegion(float(given)).bound)
    measures = {cv.KLTrustRegion: "divergence", cv.optim.FisherNorm: "metric", cv.optim.NormConstraint: "length"}
    if type(given) in measures:
        return TrustRegion(measures[type(given)], float(given.bound))
    works = "a number, curvature.KLTrustRegion, curvature.optim.FisherNorm or curvature.optim.NormConstraint"
    raise _python("trust_region", given, "decides in Python", works)


def as_acceleration(given: Any) -> float | None:
    """The bound of 2‖a‖/‖v‖ of ``curvature.GeodesicAcceleration``, or None.

    Raises:
        UnsupportedError: for anything else.
    """
    if given is None or type(given) is cv.GeodesicAcceleration:
        return None if given is None else float(given.limit)
    raise _python("acceleration", given, "decides in Python", "curvature.GeodesicAcceleration() or None")


def as_every(name: str, steps: Any) -> int:
    """A positive number of steps.

    Raises:
        DataError: if it is none.
        UnsupportedError: for a rule that decides in Python.
    """
    if hasattr(steps, "due"):
        raise _python(name, steps, "decides in Python", "a positive integer")
    if not (isinstance(steps, int) and steps >= 1):
        raise cv.DataError(f"{name} is a positive integer, got {steps!r}")
    return steps


def in_range(name: str, number: Any, below: float) -> float:
    """A number in [0, below).

    Raises:
        DataError: if it is none.
    """
    if not (isinstance(number, Real) and 0 <= float(number) < below):
        raise cv.DataError(f"{name} lies in [0, {below:g}), got {number!r}")
    return float(number)


def _python(name: str, given: Any, why: str, works: str) -> cv.UnsupportedError:
    return cv.UnsupportedError(
        f"{name}={given!r} {why}, and nothing can be decided in Python inside of a compiled program: pass {works}; "
        f"curvature.NaturalGradient, which is not compiled as a whole, takes any rule"
    )
