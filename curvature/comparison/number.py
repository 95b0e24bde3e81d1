"""A measured number: its value and where it lies with 95 % confidence, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """One cell of a comparison.

    Attributes:
        value: None where it is not defined.
        low, high: where it lies with 95 % confidence; both are ``value`` where it is exact.
        reason: why there is no value ("indefinite", …).
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    @classmethod
    def known(cls, value: float) -> Number:
        """An exact number; one that is not finite is none."""
        value = float(value)
        return cls(value, value, value) if math.isfinite(value) else cls.missing("not finite")

    @classmethod
    def estimated(cls, value: float, low: float, high: float) -> Number:
        """A number with its interval."""
        if not all(math.isfinite(x) for x in (value, low, high)):
            return cls.missing("not finite")
        return cls(float(value), float(low), float(high))

    @classmethod
    def within(cls, value: float, half: float) -> Number:
        """value ± half."""
        return cls.estimated(value, value - half, value + half)

    @classmethod
    def missing(cls, reason: str) -> Number:
        """No number, and why."""
        return cls(None, reason=reason)

    @classmethod
    def missing_cell(cls) -> Number:
        """A cell that was not measured."""
        return cls(None)

    @property
    def is_exact(self) -> bool:
        """Whether the interval has no width."""
        return self.low == self.high

    @property
    def half_width(self) -> float:
        """Half of the length of the interval."""
        return 0.0 if self.low is None or self.high is None else (self.high - self.low) / 2

    def overlaps(self, other: Number) -> bool:
        """Whether the intervals of two numbers meet, so that their order is not known."""
        if self.low is None or other.low is None or self.high is None or other.high is None:
            return False
        return self.low <= other.high and other.low <= self.high
