"""A number, or a vector, that was estimated: how far off it may be, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from .student import student_quantile

Array = Any


@dataclass(frozen=True)
class Estimate:
    """An estimate with its standard error.

    Attributes:
        value: a Python float, or an array of the backend for what is a vector (a diagonal).
        standard_error: of the same form; 0 where the value is exact to rounding.
        products: products of the operator (columns) that it took.
        method: how it was found: the name of the estimator, or "exact".
        tolerance: the relative standard error that was asked for.
        converged: whether it was reached: standard_error ≤ tolerance · |value| (Euclidean norms, for a vector).
        probes: number of samples that the standard error rests on; 0 where it does not rest on samples.
    """

    value: Any
    standard_error: Any
    products: int
    method: str
    tolerance: float
    converged: bool
    probes: int = 0

    def interval(self, level: float = 0.95) -> tuple[Any, Any]:
        """(low, high), which covers the true value in a share ``level`` of all seeds; entry by entry for a vector.

        Student's t interval of ``probes`` - 1 degrees of freedom, Student (1908).

        Raises:
            ValueError: if the level does not lie between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1, got {level}")
        tail = 0.5 + 0.5 * level
        quantile = student_quantile(tail, self.probes - 1) if self.probes > 1 else NormalDist().inv_cdf(tail)
        width = quantile * self.standard_error
        return self.value - width, self.value + width

    def __float__(self) -> float:
        if getattr(self.value, "shape", ()) != ():
            raise TypeError(f"this estimate is a vector of shape {tuple(self.value.shape)}, not a number; take .value")
        return float(self.value)
