"""When the quadratic model hardly falls any more: the rule of Hessian-free optimization."""

from __future__ import annotations

from typing import Any

from .open_columns import select

Array = Any

SHARE = 5e-4
"""Relative fall for each iteration that counts as none."""


class QuadraticProgress:
    """Stops a column where i > k, φ_i < 0 and (φ_i - φ_{i-k}) / φ_i < 5e-4 k, with k = max(10, 0.1 i) (Martens 2010)."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._values: list[Array] = []

    def stops(self, iteration: int, values: Array) -> Array:
        """Which of the columns stop, given φ of each after that many iterations."""
        self._values.append(values)
        k = max(10, iteration // 10)
        if iteration <= k:
            return values != values
        # Multiplied by φ < 0, not divided: a column at φ = 0 must not warn.
        fall = values - self._values[iteration - k]
        return self._xp.logical_and(values < 0, fall > k * SHARE * values)

    def keep(self, positions: list[int]) -> None:
        """Go on with the columns at these positions."""
        self._values = [select(self._xp, values, positions) for values in self._values]
