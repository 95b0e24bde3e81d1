"""SPRING: minSR that starts from where the last step left off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import curvature as cv
from curvature.operators import Dense
from curvature.trees import leaves, tree_map

from .minsr import factored, gram_of, weighted_residuals

Array = Any
Tree = Any


@dataclass(frozen=True)
class SPRING:
    """φ_k = J̃ᵀ u + μ φ_{k-1} with (K + λI) u = ε - μ J̃ φ_{k-1}: the regularised projection (Kaczmarz) of μ φ_{k-1}.

    φ_k minimises ‖J̃ φ - ε‖² + λ ‖φ - μ φ_{k-1}‖²: what this batch does not determine is kept from earlier ones. With μ = 0
    it is minSR. The update is -α φ_k.

    Attributes:
        damping: λ.
        momentum: μ, in [0, 1).
        projection: adds this times q qᵀ to K, q_n = √w_n, column by column of S (1 1ᵀ / N without weights). Centred rows have q
            as null vector, so it changes nothing but the conditioning there.
        norm_constraint: upper bound of ‖update‖², or None.
        centred: rows minus their weighted mean, as ``curvature.Gram``.

    Raises:
        DataError: for options out of range.

    Source: Goldshlager, Abrahamsen and Lin (2024), "A Kaczmarz-inspired approach to accelerate the optimization of neural
    network wavefunctions".
    """

    damping: float = 1e-3
    momentum: float = 0.99
    projection: float = 0.0
    norm_constraint: float | None = None
    centred: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise cv.DataError(f"SPRING: momentum lies in [0, 1), got {self.momentum}")
        for name, number in (("damping", self.damping), ("projection", self.projection)):
            if not 0 <= number < float("inf"):
                raise cv.DataError(f"SPRING: {name} is a finite number ≥ 0, got {number}")
        if self.norm_constraint is not None and not self.norm_constraint > 0:
            raise cv.DataError(f"SPRING: norm_constraint is positive or None, got {self.norm_constraint}")

    def direction(
        self, matrix: cv.GaussNewtonMatrix | cv.Gram, previous: Tree | None = None, residuals: Array | None = None
    ) -> Tree:
        """φ_k, a params tree.

        Args:
            matrix: ``curvature.Fisher(problem)``, …, of this step's data and parameters, or its ``curvature.Gram``.
            previous: φ_{k-1}, a params tree; None for the first step, which is minSR's.
            residuals: as of ``natural_gradient``; by default those of the loss.

        Raises:
            DataError: if the residuals do not fit.
            SingularMatrixError: for a singular K without damping.
        """
        gram = gram_of(matrix, self.centred)
        xp, space, jacobian = gram.xp, gram.problem.space, factored(gram)
        epsilon = weighted_residuals(gram, residuals)
        kept = None if previous is None else space.ravel(xp, previous, what="the previous direction") * float(self.momentum)
        if kept is not None:
            epsilon = epsilon - jacobian @ kept
        regularised: Dense = gram
        if self.projection:
            columns = jacobian.mean_columns()
            array = gram.array + float(self.projection) * (columns @ xp.matrix_transpose(columns))
            regularised = Dense(array, backend=gram.backend, symmetric=True)
        step = jacobian.T @ regularised.solve(epsilon, self.damping)
        return space.unravel(xp, step if kept is None else step + kept)

    def update(self, direction: Tree, learning_rate: float = 1.0) -> Tree:
        """-α φ, shortened where ‖α φ‖² is above ``norm_constraint``. The next step's ``previous`` is φ itself."""
        rate = float(learning_rate)  # a NumPy scalar would promote float32 arrays
        if self.norm_constraint is None:
            return tree_map(lambda a: a * -rate, direction)
        parts = leaves(direction)
        xp = cv.namespace(*parts)
        total: Any = sum(xp.sum(a * a) for a in parts) * rate**2
        bound = xp.zeros_like(total) + float(self.norm_constraint)
        shrink = xp.sqrt(bound / xp.maximum(total, bound))
        return tree_map(lambda a: a * -rate * shrink, direction)
