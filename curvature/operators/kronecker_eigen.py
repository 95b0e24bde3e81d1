"""A matrix that is diagonal in a Kronecker-factored orthogonal basis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ShapeError
from ..trees import ParameterSpace
from .base import Operator, check_damping, check_rank
from .spectral import largest_in_magnitude, log_determinant, powered

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


def outer(xp: Any, vectors: Sequence[Array]) -> Array:
    """The outer product a_i b_j … of vectors, as an array (n_1, …, n_k)."""
    return reduce(lambda a, b: a[..., None] * b, vectors)


def apply_factors(xp: Any, factors: Sequence[Array], v: Array) -> Array:
    """(A_1 ⊗ … ⊗ A_k) V for V (Π n_i, K), one factor at a time: never forms the product."""
    k = int(v.shape[1])
    if len(factors) == 2 and k == 1:
        left, right = factors
        matrix = xp.reshape(v, (left.shape[0], right.shape[0]))
        return xp.reshape(left @ matrix @ xp.matrix_transpose(right), (-1, 1))
    total, before = int(v.shape[0]), 1
    for factor in factors:
        n = int(factor.shape[0])
        # (before, n, after·K): matmul broadcasts over the leading axis.
        v = factor @ xp.reshape(v, (before, n, (total // (before * n)) * k))
        before *= n
    return xp.reshape(v, (total, k))


class KroneckerEigen(Operator):
    """(Q_1 ⊗ … ⊗ Q_k) diag(values) (Q_1 ⊗ … ⊗ Q_k)ᵀ with orthogonal Q_i: the form of a damped Kronecker product and
    of EKFAC (George et al. 2018).

    Args:
        bases: orthogonal matrices (n_i, n_i).
        values: eigenvalues (n_1, …, n_k).
        space: the parameters that its rows stand for.
    """

    structure: ClassVar[str] = "kronecker-eigen"

    def __init__(
        self,
        bases: Sequence[Array],
        values: Array,
        *,
        backend: Backend | None = None,
        space: ParameterSpace | None = None,
    ) -> None:
        from ..registry import backend_of

        self.backend = backend_of(values) if backend is None else backend
        sizes = tuple(int(q.shape[0]) for q in bases)
        if tuple(values.shape) != sizes or any(tuple(q.shape) != (n, n) for q, n in zip(bases, sizes, strict=True)):
            raise ShapeError(f"bases {[tuple(q.shape) for q in bases]} do not fit eigenvalues {tuple(values.shape)}")
        self.bases = tuple(bases)
        self.values = values
        self.space = space

    @property
    def shape(self) -> tuple[int, int]:
        n = math.prod(self.values.shape)
        return (n, n)

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    def _like(self, values: Array) -> KroneckerEigen:
        return KroneckerEigen(self.bases, values, backend=self.backend, space=self.space)

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> KroneckerEigen:
        return KroneckerEigen([function(q) for q in self.bases], function(self.values), backend=backend, space=self.space)

    def _in_basis(self, v: Array, values: Array) -> Array:
        xp = self.xp
        rotated = apply_factors(xp, [xp.matrix_transpose(q) for q in self.bases], v)
        return apply_factors(xp, self.bases, xp.reshape(values, (-1, 1)) * rotated)

    def _matmat(self, v: Array) -> Array:
        return self._in_basis(v, self.values)

    def _solve(self, v: Array, damping: Any) -> Array:
        return self._in_basis(v, powered(self.xp, self.values, -1, damping))

    def inverse(self, damping: Any = 0.0) -> KroneckerEigen:
        return self.power(-1, damping)

    def power(self, p: float, damping: Any = 0.0) -> KroneckerEigen:
        damping = check_damping(damping)
        return self._like(powered(self.xp, self.values, p, damping))

    def logdet(self, damping: Any = 0.0) -> Array:
        damping = check_damping(damping)
        return log_determinant(self.xp, self.values, damping)

    def trace(self) -> Array:
        return self.xp.sum(self.values)

    def diagonal(self) -> Array:
        # diag(Q Λ Qᵀ) = (Q ∘ Q) λ, and (Q_1 ⊗ Q_2) ∘ (Q_1 ⊗ Q_2) = (Q_1 ∘ Q_1) ⊗ (Q_2 ∘ Q_2).
        squared = [q * q for q in self.bases]
        return apply_factors(self.xp, squared, self.xp.reshape(self.values, (-1, 1)))[:, 0]

    def norm(self, order: str | int = "fro") -> Array:
        if order == "fro":
            return self.xp.sqrt(self.xp.sum(self.values**2))
        if order == 2:
            return self.xp.max(self.xp.abs(self.values))
        raise ValueError(f"the norms are 'fro' and 2, got {order!r}")

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        xp, n = self.xp, self.shape[0]
        check_rank(k, n)
        flat = xp.reshape(self.values, (-1,))
        order = xp.argsort(flat) if k is None else largest_in_magnitude(xp, flat, k)
        # A column of the Kronecker product is the outer product of one column of each basis.
        columns, rest = [], order
        for q, size in zip(reversed(self.bases), reversed(self.values.shape), strict=True):
            columns.append(xp.take(q, rest % size, axis=1))
            rest = rest // size
        vectors = columns[-1]
        for column in reversed(columns[:-1]):
            vectors = xp.reshape(vectors[:, None, :] * column[None, :, :], (-1, vectors.shape[1]))
        return xp.take(flat, order), vectors

    def scaled(self, factor: Any) -> KroneckerEigen:
        return self._like(self.values * factor)
