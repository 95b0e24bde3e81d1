"""Momentum that enters the linear system of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import DataError
from .step_size import is_number


class Momentum(Protocol):
    """What an optimiser asks of a rule for momentum that is more than a multiple of the last update."""

    def right_hand_side(self, gradient: Any, direction: Any | None, damping: float) -> Any:
        """What (F̂ + λI) φ = … is solved for; ``direction`` is the last φ. All are flat vectors (P,)."""
        ...


@dataclass(frozen=True)
class Spring:
    """(F + λI) φ_k = ∇h + λ μ φ_{k-1}: φ_k minimises ‖φ - μ φ_{k-1}‖²_λ + (its misfit to this batch).

    What a batch does not determine is kept from earlier ones. In the sample space it is SPRING; any approximation can solve
    the same system. The update is -α φ_k.

    Attributes:
        decay: μ, in [0, 1).

    Source: Goldshlager, Abrahamsen and Lin (2024), "A Kaczmarz-inspired approach to accelerate the optimization of neural
    network wavefunctions".
    """

    decay: float = 0.9

    def __post_init__(self) -> None:
        if not (is_number(self.decay) and 0 <= self.decay < 1):
            raise DataError(f"the decay of Spring lies in [0, 1), got {self.decay!r}")

    def right_hand_side(self, gradient: Any, direction: Any | None, damping: float) -> Any:
        return gradient if direction is None else gradient + direction * (damping * self.decay)


def as_momentum(momentum: Any) -> tuple[float, Momentum | None]:
    """(μ of the last update, rule): one of them says nothing.

    Raises:
        DataError: if it is neither a number in [0, 1) nor a rule.
    """
    if hasattr(momentum, "right_hand_side") and not isinstance(momentum, type):
        return 0.0, momentum
    if not (is_number(momentum) and 0 <= momentum < 1):
        raise DataError(f"momentum lies in [0, 1) or is a rule such as curvature.optim.Spring(), got {momentum!r}")
    return float(momentum), None
