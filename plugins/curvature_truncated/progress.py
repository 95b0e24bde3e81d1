"""How far a Neumann series has come, and how far it has to go."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A relative error ‖x - A⁻¹b‖_A ≤ tolerance · ‖A⁻¹b‖_A, in terms of residuals: rᵀ P r ≤ tolerance² (λ_min/λ_max) bᵀ P b.

    Attributes:
        tolerance: the relative error.
        scale: a.
        bound: λ_max of P A.
        lowest: what λ_min of P A is taken for, unless the rate of the series says that a smaller one is at work.
        floor: the square of a relative residual below which there is rounding only.
    """

    tolerance: float
    scale: float
    bound: float
    lowest: float
    floor: float

    def energy(self, rate: float) -> float:
        """Where rᵀ P r / bᵀ P b should go, if each term multiplies its root by ``rate`` now: 1 - a λ of what is left."""
        lowest = min(self.lowest, (1 - rate) / self.scale)
        return max(self.tolerance**2 * lowest / self.bound, self.floor)


@dataclass(frozen=True)
class Progress:
    """The state of a series.

    Attributes:
        terms: K.
        energy: rᵀ P r / bᵀ P b after them, of the slowest column.
        rate: the factor by which a term multiplied its root lately.
        goal: where it should go.
    """

    terms: int
    energy: float
    rate: float
    goal: Goal

    def followed_by(self, terms: int, energy: float) -> Progress:
        """The progress after more terms."""
        if energy <= 0 or self.energy <= 0:
            return Progress(terms, energy, 0.0, self.goal)
        rate = math.exp(0.5 * (math.log(energy) - math.log(self.energy)) / (terms - self.terms))
        return Progress(terms, energy, rate, self.goal)

    @property
    def reached(self) -> bool:
        """Whether the error is as small as it should be."""
        return self.energy <= self.goal.energy(self.rate)

    @property
    def diverges(self) -> bool:
        """Whether terms make it worse, beyond rounding."""
        return self.rate > 1 + 1e-3

    @property
    def foretold(self) -> float:
        """A lower bound of the terms that it will take in all: the energy is log-convex, so the rate only gets worse."""
        if self.reached or self.rate <= 0:
            return self.terms
        if self.rate >= 1:
            return math.inf
        left = math.log(self.goal.energy(self.rate)) - math.log(self.energy)
        return self.terms + 0.5 * left / math.log(self.rate)
