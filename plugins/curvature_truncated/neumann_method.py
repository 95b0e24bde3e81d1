"""The options of the truncated Neumann series."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import curvature as cv

from .costs import neumann_cost
from .preconditioning import TruncatedMethod

SCALES = ("auto", "monotone", "fastest")


@dataclass(frozen=True)
class Neumann(TruncatedMethod):
    """A⁻¹ ≈ S_K = a Σ_{k<K} (I - a P A)^k P in ``solve`` and ``inverse``, for A = F + λI; products are the matrix's own.

    The error is A⁻¹ - S_K = (I - a P A)^K A⁻¹: it vanishes if every eigenvalue of a P A lies between 0 and 2. Eigenvalues
    are measured by a Lanczos process, and a series that would diverge is refused. Powers are never formed, but where the
    matrix is small (1000 rows) and the series has taken as many products as rows, the matrix is made dense and the terms are
    doubled in number by each step of Newton's and Schulz's iteration: the same sum.

    Attributes:
        order: K, or "auto": as many terms as ``tolerance`` asks for.
        scale: a number; "monotone", 1/λ_max of P A: S_K is positive definite and grows with K towards A⁻¹; "fastest",
            2/(λ_min + λ_max): the smallest error for many terms, the wrong choice for few; or "auto": "fastest", with no
            λ_min below λ_max/10, where the order is automatic, else "monotone".
        preconditioner: an approximation (or its name) of the same matrix; P = (preconditioner + λI)⁻¹.
        tolerance: of an automatic order, the relative error ‖x - A⁻¹v‖_A / ‖A⁻¹v‖_A; by default 1e-10 in float64 and 1e-5 in
            float32 (eps^0.64).
        max_order: most terms that are taken one by one by an automatic order.

    Raises (of ``solve``):
        ConvergenceError: if the series would diverge (says which scale converges), or needs more than ``max_order`` terms
            (says how many, and the damping that would do).
        NotPositiveDefiniteError: if A has a negative eigenvalue, with which every series diverges.

    Sources: Neumann (1877); Agarwal, Bullins and Hazan (2017) of its stochastic form, LiSSA; Schulz (1933), Hotelling (1943).
    """

    name: ClassVar[str] = "neumann"
    order: int | Literal["auto"] = "auto"
    scale: float | Literal["auto", "monotone", "fastest"] = "auto"
    preconditioner: Any = None
    tolerance: float | None = None
    max_order: int = 10_000

    def __post_init__(self) -> None:
        if self.order != "auto" and not _positive_integer(self.order):
            raise cv.DataError(f"neumann: order is 'auto' or the number of terms, a positive integer; got {self.order!r}")
        if self.scale not in SCALES and not _positive(self.scale):
            raise cv.DataError(f"neumann: scale is {', '.join(map(repr, SCALES))} or a positive number, got {self.scale!r}")
        if self.tolerance is not None and not (_positive(self.tolerance) and self.tolerance < 1):
            raise cv.DataError(f"neumann: tolerance lies between 0 and 1, got {self.tolerance!r}")
        if not _positive_integer(self.max_order):
            raise cv.DataError(f"neumann: max_order is a positive integer, got {self.max_order!r}")
        self.chosen()

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return neumann_cost(self, layout)


def _positive_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
