"""(F̂ + λI)⁻¹ for several λ in a row."""

from __future__ import annotations

from typing import Any

from ..operators import Dense, Operator

Array = Any

SPECTRAL_LIMIT = 1024
"""Up to so many parameters an eigendecomposition takes less than the factorisations of the several λ that a step may try."""

VANISHING = 1e-20
"""Diagonal entries below this share of the largest count as this share of it."""


class Solver:
    """Solutions of (A + λ D) x = v, for A ≥ 0.

    A small dense matrix is decomposed once if several λ are likely; its eigenvalues below zero are rounding, and count as
    zero. Then D = diag(A)^scaling; anything else solves as it does, with D = I.

    Args:
        operator: A.
        several: whether several λ are to be expected.
        scaling: 0: Levenberg's damping; 1: Marquardt's, which does not depend on the units of the parameters.
        start: where an operator with ``solve_from`` starts from.
    """

    def __init__(self, operator: Operator, *, several: bool, scaling: float = 0.0, start: Any = None) -> None:
        self.operator = operator
        self.start = start
        self._eigen: tuple[Array, Array] | None = None
        if several and isinstance(operator, Dense) and operator.symmetric and operator.shape[0] <= SPECTRAL_LIMIT:
            self._eigen = _decomposed(operator, scaling)

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
    def largest(self) -> float | None:
        """The largest eigenvalue of D^-½ A D^-½, where that is known."""
        return None if self._eigen is None else float(self._eigen[0][-1])

    @property
    def lowest(self) -> float:
        """λ below which a solution is rounding, where that is known."""
        return 32 * float(self.operator.xp.finfo(self.operator.dtype).eps) * (self.largest or 0.0)


def _decomposed(operator: Dense, scaling: float) -> tuple[Array, Array]:
    """(μ, D^-½ V) of D^-½ A D^-½ = V diag(μ) Vᵀ: (A + λD)⁻¹ = D^-½ V diag(1 / (μ + λ)) Vᵀ D^-½."""
    xp = operator.xp
    if not scaling:
        values, vectors = operator.eigh()
        return xp.where(values > 0, values, xp.zeros_like(values)), vectors
    diagonal = operator.diagonal()
    largest = xp.max(diagonal)
    # What does not matter to the model at all is not made to matter by its scale.
    safe = xp.where(largest > 0, xp.maximum(diagonal, largest * VANISHING), xp.ones_like(diagonal))
    root = safe ** (-0.5 * scaling)
    values, vectors = operator.backend.eigh(operator.array * root[:, None] * root[None, :])
    return xp.where(values > 0, values, xp.zeros_like(values)), vectors * root[:, None]
