"""(F̂ + λI)⁻¹ for several λ in a row."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from ..backend import Keyed
from ..operators import Dense, Operator

Array = Any

SPECTRAL_LIMIT = 1024
"""Up to so many parameters an eigendecomposition takes less than the factorisations of the several λ that a step may try."""

DECOMPOSED_AT_ONCE = 256
"""Up to so many parameters it is decomposed at once: the first λ after a successful step is refused more often than not."""

VANISHING = 1e-16
"""Diagonal entries below this share of the largest count as this share of it."""


class Solver:
    """Solutions of (A + l2·I + λ D) x = v, for A ≥ 0.

    A small dense matrix is scaled by D = diag(A + l2·I)^scaling. It is factored for the first λ, and decomposed for good where
    that fails or a second λ follows; eigenvalues below zero are rounding, and count as zero. Anything else solves as it does,
    with D = I.

    Args:
        operator: A.
        l2: of the objective.
        several: whether several λ are to be expected.
        scaling: 0: Levenberg's damping; 1: Marquardt's, which does not depend on the units of the parameters.
        start: where an operator with ``solve_from`` starts from.
        programs: a place for a backend to keep what it compiled.
    """

    def __init__(
        self,
        operator: Operator,
        *,
        l2: float,
        several: bool,
        scaling: float = 0.0,
        start: Any = None,
        programs: MutableMapping[Any, Any] | None = None,
    ) -> None:
        self.operator = operator
        self.start = start
        dense = several and isinstance(operator, Dense) and operator.symmetric and operator.shape[0] <= SPECTRAL_LIMIT
        self._scaled = (
            _Scaled(operator, l2, scaling, {} if programs is None else programs)
            if dense and isinstance(operator, Dense)
            else None
        )

    def __call__(self, v: Array, damping: float, remaining: float) -> Array:
        """x (P,) for v (P,) and λ; ``remaining`` of λ + l2 is not in the structure of the operator yet."""
        if self._scaled is not None and remaining > 0:
            return self._scaled.solve(v, damping)
        solve_from = getattr(self.operator, "solve_from", None)
        if solve_from is None:
            return self.operator.solve(v, damping=remaining)
        self.start = solve_from(v, self.start, remaining)
        return self.start

    @property
    def size(self) -> float | None:
        """‖D^-½ (A + l2·I) D^-½‖_F, between the largest eigenvalue and √P of them, where that is known."""
        return None if self._scaled is None else self._scaled.size

    @property
    def lowest(self) -> float:
        """λ below which a solution is rounding, where that is known."""
        return 32 * float(self.operator.xp.finfo(self.operator.dtype).eps) * (self.size or 0.0)


class _Scaled:
    """M = D^-½ (A + l2·I) D^-½, so that (A + l2·I + λD)⁻¹ = D^-½ (M + λI)⁻¹ D^-½."""

    def __init__(self, operator: Dense, l2: float, scaling: float, programs: MutableMapping[Any, Any]) -> None:
        self.xp, self.backend, self.programs = operator.xp, operator.backend, programs
        self.root: Array | None = None
        program = Keyed(lambda array, _: scaled(operator, array, l2, scaling), ("scaled", l2, scaling), programs)
        array, self.root, size = self.backend.evaluate(program.on(None), operator.array)
        self.matrix = Dense(array, backend=self.backend, symmetric=True)
        self.size = float(size)
        self._first: float | None = None
        self._eigen: tuple[Array, Array] | None = None

    def solve(self, v: Array, damping: float) -> Array:
        x = self._factored(v, damping)
        if x is not None:
            return x
        xp = self.xp

        def solution(v: Array, data: Any) -> Array:
            (values, vectors), root, shift = data
            inner = (xp.matrix_transpose(vectors) @ (v * root)) / (values + shift)
            return (vectors @ inner) * root

        program = Keyed(solution, "spectral solution", self.programs)
        found: Array = self.backend.evaluate(program.on((self._decomposed(), self.root, damping)), v)
        return found

    def _factored(self, v: Array, damping: float) -> Array | None:
        """By Cholesky's factorisation for the first λ, None where it breaks down or for another one."""
        if self._eigen is not None or self._first not in (None, damping) or self.matrix.shape[0] <= DECOMPOSED_AT_ONCE:
            return None
        self._first = damping
        x = self.matrix.solve_factored(v * self.root, damping)
        return None if x is None else x * self.root

    def _decomposed(self) -> tuple[Array, Array]:
        if self._eigen is None:
            values, vectors = self.matrix.eigh()
            self._eigen = self.xp.where(values > 0, values, self.xp.zeros_like(values)), vectors
        return self._eigen


def scaled(operator: Dense, array: Array, l2: float, scaling: float) -> tuple[Array, Array, Array]:
    """(M, the diagonal of D^-½, ‖M‖_F) for the array of an operator."""
    xp = operator.xp
    diagonal = xp.linalg.diagonal(array) + l2
    if l2:
        array = array + xp.eye(array.shape[0], dtype=array.dtype, device=operator.backend.device) * l2
    largest = xp.max(diagonal)
    # What does not matter to the model at all is not made to matter by its scale.
    safe = xp.where(largest > 0, xp.maximum(diagonal, largest * VANISHING), xp.ones_like(diagonal))
    root = safe ** (-0.5 * scaling)
    array = array * root[:, None] * root[None, :]
    return array, root, xp.sqrt(xp.sum(array * array))
