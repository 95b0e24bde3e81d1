"""A matrix that is diagonal in a Kronecker-factored basis which need not be orthogonal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ShapeError
from ..trees import ParameterSpace
from .base import Operator
from .damping import check_damping, is_zero
from .kronecker_eigen import apply_factors
from .spectral import log_determinant, powered

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


class KroneckerCongruence(Operator):
    """(C_1 ⊗ C_2) diag(values) (C_1 ⊗ C_2)ᵀ with nonsingular C_i: a sum of two Kronecker products, diagonalised at once.

    The inverse without damping is again of this form, C_i⁻ᵀ for C_i and 1/values for the values.

    Args:
        bases: C_i, (n_i, n_i).
        values: (n_1, n_2).
        inverse_bases: C_i⁻¹ where they are known.
        space: the parameters that its rows stand for.

    Raises:
        ShapeError: if the bases do not fit the values.
    """

    structure: ClassVar[str] = "kronecker-congruence"

    def __init__(
        self,
        bases: Sequence[Array],
        values: Array,
        *,
        inverse_bases: Sequence[Array] | None = None,
        backend: Backend | None = None,
        space: ParameterSpace | None = None,
    ) -> None:
        from ..registry import backend_of

        self.backend = backend_of(values) if backend is None else backend
        sizes = tuple(int(n) for n in values.shape)
        for given in (bases, bases if inverse_bases is None else inverse_bases):
            shapes = [tuple(int(n) for n in c.shape) for c in given]
            if len(sizes) != 2 or shapes != [(n, n) for n in sizes]:
                raise ShapeError(f"bases {shapes} do not fit values {sizes}; there are two of them, of (n_1, n_2) values")
        if space is not None and space.size != math.prod(sizes):
            raise ShapeError(f"a matrix of size {math.prod(sizes)} does not fit {space.size} parameters")
        self.bases = tuple(bases)
        self.values = values
        self.space = space
        self._inverse_bases = None if inverse_bases is None else tuple(inverse_bases)

    @property
    def inverse_bases(self) -> tuple[Array, ...]:
        """C_i⁻¹; computed once and kept."""
        if self._inverse_bases is None:
            self._inverse_bases = tuple(self.xp.linalg.inv(c) for c in self.bases)
        return self._inverse_bases

    @property
    def shape(self) -> tuple[int, int]:
        n = math.prod(int(size) for size in self.values.shape)
        return (n, n)

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> KroneckerCongruence:
        inverses = None if self._inverse_bases is None else [function(c) for c in self._inverse_bases]
        bases, values = [function(c) for c in self.bases], function(self.values)
        return KroneckerCongruence(bases, values, inverse_bases=inverses, backend=backend, space=self.space)

    def _matmat(self, v: Array) -> Array:
        xp = self.xp
        inner = apply_factors(xp, [xp.matrix_transpose(c) for c in self.bases], v)
        return apply_factors(xp, self.bases, xp.reshape(self.values, (-1, 1)) * inner)

    def _solve(self, v: Array, damping: Any) -> Array:
        if is_zero(damping):
            return self.inverse()._matmat(v)
        return super()._solve(v, damping)

    def inverse(self, damping: Any = 0.0) -> Operator:
        """(A + damping·I)⁻¹: of this form without damping."""
        damping = check_damping(damping)
        if not is_zero(damping):
            return super().inverse(damping)
        xp = self.xp
        return KroneckerCongruence(
            [xp.matrix_transpose(c) for c in self.inverse_bases],
            powered(xp, self.values, -1, 0.0, size=sum(self.values.shape)),
            inverse_bases=[xp.matrix_transpose(c) for c in self.bases],
            backend=self.backend,
            space=self.space,
        )

    def power(self, p: float, damping: Any = 0.0) -> Operator:
        return self.inverse(damping) if p == -1 else super().power(p, damping)

    def logdet(self, damping: Any = 0.0) -> Array:
        damping = check_damping(damping)
        if not is_zero(damping):
            return super().logdet(damping)
        # det (C_1 ⊗ C_2) = det(C_1)^n_2 det(C_2)^n_1.
        one, two = (self.xp.linalg.slogdet(c)[1] for c in self.bases)
        n, m = (int(size) for size in self.values.shape)
        return log_determinant(self.xp, self.values, 0.0, size=n + m) + 2.0 * (m * one + n * two)

    def diagonal(self) -> Array:
        flat = self.xp.reshape(self.values, (-1, 1))
        return apply_factors(self.xp, [c * c for c in self.bases], flat)[:, 0]

    def norm(self, order: str | int = "fro") -> Array:
        if order != "fro":
            return super().norm(order)
        # ‖C D Cᵀ‖² = dᵀ ((CᵀC) ∘ (CᵀC)) d, and the Hadamard square of a Kronecker product is that of its factors.
        xp = self.xp
        left, right = ((xp.matrix_transpose(c) @ c) ** 2 for c in self.bases)
        squared = xp.sum(self.values * (left @ self.values @ xp.matrix_transpose(right)))
        return xp.sqrt(xp.where(squared > 0, squared, xp.zeros_like(squared)))

    def scaled(self, factor: Any) -> KroneckerCongruence:
        values = self.values * factor
        return KroneckerCongruence(self.bases, values, inverse_bases=self._inverse_bases, backend=self.backend, space=self.space)
