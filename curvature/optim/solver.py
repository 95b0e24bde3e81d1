"""(F̂ + λI)⁻¹ for several λ in a row."""

from __future__ import annotations

from typing import Any

from ..operators import Dense, Operator

Array = Any

SPECTRAL_LIMIT = 1024
"""Up to so many parameters an eigendecomposition takes less than the factorisations of the several λ that a step may try."""


class Solver:
    """Solutions of (A + λI) x = v, for A ≥ 0.

    A small dense matrix is decomposed once if several λ are likely; its eigenvalues below zero are rounding, and count as
    zero. Anything else solves as it does.

    Args:
        operator: A.
        several: whether several λ are to be expected.
        start: where an operator with ``solve_from`` starts from.
    """

    def __init__(self, operator: Operator, *, several: bool, start: Any = None) -> None:
        self.operator = operator
        self.start = start
        self._eigen: tuple[Array, Array] | None = None
        if several and isinstance(operator, Dense) and operator.symmetric and operator.shape[0] <= SPECTRAL_LIMIT:
            values, vectors = operator.eigh()
            xp = operator.xp
            self._eigen = xp.where(values > 0, values, xp.zeros_like(values)), vectors

    def __call__(self, v: Array, damping: float) -> Array:
        """x (P,) for v (P,)."""
        if self._eigen is not None and damping > 0:
            values, vectors = self._eigen
            return vectors @ ((self.operator.xp.matrix_transpose(vectors) @ v) / (values + damping))
        solve_from = getattr(self.operator, "solve_from", None)
        if solve_from is None:
            return self.operator.solve(v, damping=damping)
        self.start = solve_from(v, self.start, damping)
        return self.start

    @property
    def lowest(self) -> float:
        """λ below which a solution is rounding, where that is known."""
        if self._eigen is None:
            return 0.0
        values = self._eigen[0]
        return 32 * float(self.operator.xp.finfo(self.operator.dtype).eps) * float(values[-1])
