"""A Kronecker product of symmetric matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

from ..backend.values import has_values
from ..errors import MixedBackendError, ShapeError
from ..trees import ParameterSpace
from .base import Operator
from .checks import check_rank
from .damping import check_damping, is_zero
from .dense import Dense
from .kronecker_eigen import KroneckerEigen, apply_factors, outer

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


class Kronecker(Operator):
    """A_1 ⊗ … ⊗ A_k, index (i_1, …, i_k) in row-major order: (A ⊗ B) vec(X) = vec(A X Bᵀ) for row-major vec.

    Args:
        factors: matrices or dense operators, square; for the spectral operations symmetric.
        space: the parameters that its rows stand for.

    Raises:
        ShapeError: if a factor is not square or the product does not fit ``space``.
    """

    structure: ClassVar[str] = "kronecker"

    def __init__(
        self, factors: Sequence[Array | Dense], *, backend: Backend | None = None, space: ParameterSpace | None = None
    ) -> None:
        if not factors:
            raise ShapeError("a Kronecker product needs at least one factor")
        self.factors = tuple(f if isinstance(f, Dense) else Dense(f, backend=backend) for f in factors)
        for factor in self.factors:
            factor._require_square("a Kronecker factor")
        self.backend = self.factors[0].backend
        if any(factor.backend != self.backend for factor in self.factors):
            raise MixedBackendError("the factors live on different backends; move them with .to(backend)")
        if space is not None and space.size != self.shape[0]:
            raise ShapeError(f"a Kronecker product of size {self.shape[0]} does not fit {space.size} parameters")
        self.space = space
        self.symmetric = all(factor.symmetric for factor in self.factors)
        self._spectrum: KroneckerEigen | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each factor."""
        return tuple(factor.shape[0] for factor in self.factors)

    @property
    def shape(self) -> tuple[int, int]:
        n = reduce(lambda a, b: a * b, self.sizes, 1)
        return (n, n)

    @property
    def dtype(self) -> Any:
        return self.factors[0].dtype

    def _like(self, factors: Sequence[Dense]) -> Kronecker:
        return Kronecker(factors, space=self.space)

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> Kronecker:
        return self._like([factor.map_arrays(function, backend) for factor in self.factors])

    def eigenbasis(self) -> KroneckerEigen:
        """The same matrix in the eigenbasis of its factors, (Q_1 ⊗ …) diag(λ_1 ⊗ …) (Q_1 ⊗ …)ᵀ; computed once and kept."""
        self._require_symmetric("the eigenbasis")
        if self._spectrum is not None:
            return self._spectrum
        pairs = [factor.eigh() for factor in self.factors]
        values = outer(self.xp, [value for value, _ in pairs])
        spectrum = KroneckerEigen([q for _, q in pairs], values, backend=self.backend, space=self.space)
        if has_values(values):  # what belongs to a program that is being compiled does not outlive it
            self._spectrum = spectrum
        return spectrum

    def _matmat(self, v: Array) -> Array:
        return apply_factors(self.xp, [factor.array for factor in self.factors], v)

    def _transpose(self) -> Kronecker:
        return self._like([Dense(f.xp.matrix_transpose(f.array), backend=f.backend, symmetric=f.symmetric) for f in self.factors])

    def _solve(self, v: Array, damping: Any) -> Array:
        if is_zero(damping):
            # Forming the inverses pays from the second solve on, for which they are kept.
            if self._inverse is None and not self._solved_before:
                self._solved_before = True
                return self._solve_by_factors(v)
            return self.inverse()._matmat(v)
        if not self.symmetric:
            return super()._solve(v, damping)
        return self.eigenbasis()._solve(v, damping)

    def _solve_by_factors(self, v: Array) -> Array:
        """(A_1⁻¹ ⊗ …) V, each factor solved for the columns of all others."""
        xp, shape, before = self.xp, tuple(v.shape), 1
        for factor in self.factors:
            n = factor.shape[0]
            columns = xp.permute_dims(xp.reshape(v, (before, n, -1)), (1, 0, 2))
            solved = xp.reshape(factor._solve(xp.reshape(columns, (n, -1)), 0.0), tuple(columns.shape))
            v, before = xp.permute_dims(solved, (1, 0, 2)), before * n
        return xp.reshape(v, shape)

    def inverse(self, damping: Any = 0.0) -> Operator:
        """(A + damping·I)⁻¹: again a Kronecker product without damping, in the eigenbasis of the factors with it."""
        damping = check_damping(damping)
        if is_zero(damping):
            inverse = self._inverse
            if inverse is None:
                inverse = self._like([factor.inverse() for factor in self.factors])
                if has_values(inverse.factors[0].array):
                    self._inverse = inverse
            return inverse
        if not self.symmetric:
            return super().inverse(damping)
        return self.eigenbasis().inverse(damping)

    _inverse: Kronecker | None = None
    _solved_before = False

    def power(self, p: float, damping: Any = 0.0) -> Kronecker | KroneckerEigen:
        """(A + damping·I)^p. Two negative definite factors make a positive product, so signs are those of the product."""
        damping = check_damping(damping)
        undamped = is_zero(damping)
        if undamped and float(p).is_integer():
            return self._like([factor.power(p) for factor in self.factors])
        return self.eigenbasis().power(p, damping)

    def logdet(self, damping: Any = 0.0) -> Array:
        return self.eigenbasis().logdet(damping)

    def trace(self) -> Array:
        return reduce(lambda a, b: a * b, [factor.trace() for factor in self.factors])

    def diagonal(self) -> Array:
        return self.xp.reshape(outer(self.xp, [factor.diagonal() for factor in self.factors]), (-1,))

    def norm(self, order: str | int = "fro") -> Array:
        return reduce(lambda a, b: a * b, [factor.norm(order) for factor in self.factors])

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        check_rank(k, self.shape[0])
        return self.eigenbasis().eigh(k)

    def scaled(self, factor: Any) -> Kronecker:
        first, *rest = self.factors
        return self._like([first.scaled(factor), *rest])

    def to_dense(self) -> Array:
        xp = self.xp

        def kron(a: Array, b: Array) -> Array:
            m, n = int(a.shape[0]), int(b.shape[0])
            return xp.reshape(a[:, None, :, None] * b[None, :, None, :], (m * n, m * n))

        return reduce(kron, [factor.array for factor in self.factors])
