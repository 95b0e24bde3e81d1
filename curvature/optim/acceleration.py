"""Geodesic acceleration: the second-order correction of a Gauss-Newton step."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DataError
from .step_size import is_number


@dataclass(frozen=True)
class GeodesicAcceleration:
    """δ = v + ½ a with a = -(F + λI)⁻¹ Jᵀ S Sᵀ f''(v, v), f'' the second derivative of the outputs along v = -(F + λI)⁻¹ ∇h.

    The step follows, to second order, the geodesic of the model's outputs that starts along v, and so bends round the corners of
    narrow valleys. Where 2‖a‖/‖v‖ is above ``limit`` the expansion says nothing, and the step is v; of v and v + ½ a the
    one with the smaller objective is taken. Costs one second forward derivative, one backward pass and one objective.

    Attributes:
        limit: bound of 2‖a‖/‖v‖.

    Source: Transtrum and Sethna (2012).
    """

    limit: float = 0.75
    hopeless: float = 100.0

    def __post_init__(self) -> None:
        for name, number in (("limit", self.limit), ("hopeless", self.hopeless)):
            if not (is_number(number) and number > 0):
                raise DataError(f"{name} of a geodesic acceleration is positive, got {number!r}")
