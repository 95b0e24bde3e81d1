"""The factored damping γ of Kronecker methods, searched apart from λ."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DataError


@dataclass(frozen=True)
class FactoredDampingSearch:
    """Every so many steps γ, ωγ and γ/ω are tried, ω = (19/20)^(interval/2), and the one whose step the exact quadratic model
    likes best is kept; γ = √(λ + l2) at the start.

    For methods that put damping into their structure (K-FAC's (A + πγI) ⊗ (G + γ/π I)): the best γ there has little to do
    with the λ of the quadratic model, since it makes up for the error of the approximation as well.

    Attributes:
        interval: steps between searches.
        factor: ω^(2/interval).
        minimum, maximum: bounds of γ.

    Source: Martens and Grosse (2015), §6.6.
    """

    interval: int = 20
    factor: float = 19 / 20
    minimum: float = 1e-8
    maximum: float = 1e4

    def __post_init__(self) -> None:
        if not (isinstance(self.interval, int) and self.interval >= 1):
            raise DataError(f"γ is searched every interval ≥ 1 steps, got {self.interval!r}")
        if not 0 < self.factor < 1:
            raise DataError(f"the factor of γ lies between 0 and 1, got {self.factor}")

    def candidates(self, gamma: float) -> tuple[float, ...]:
        """γ, ωγ and γ/ω."""
        change = self.factor ** (self.interval / 2)
        tried = (gamma, gamma * change, gamma / change)
        return tuple(dict.fromkeys(min(max(g, self.minimum), self.maximum) for g in tried))
