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


def apply_factors(xp: Any, factors: Sequence[Array | None], v: Array, sizes: Sequence[int] | None = None) -> Array:
    """(A_1 ⊗ … ⊗ A_k) V for V (Π n_i, K), one factor at a time: never forms the product.

    A factor None is the identity; then ``sizes`` are needed.
    """
    k = int(v.shape[1])
    if len(factors) == 2 and k == 1:
        left, right = factors
        if left is not None and right is not None:
            matrix = xp.reshape(v, (left.shape[0], right.shape[0]))
            return xp.reshape(left @ matrix @ xp.matrix_transpose(right), (-1, 1))
    total, before = int(v.shape[0]), 1
    for position, factor in enumerate(factors):
        if factor is None:
            assert sizes is not None
            before *= sizes[position]
            continue
        n = int(factor.shape[0])
        # (before, n, after·K): matmul broadcasts over the leading axis.
        v = factor @ xp.reshape(v, (before, n, (total // (before * n)) * k))
        before *= n
    return xp.reshape(v, (total, k))


class KroneckerEigen(Operator):
    """(Q_1 ⊗ … ⊗ Q_k) diag(values) (Q_1 ⊗ … ⊗ Q_k)ᵀ with orthogonal Q_i: the form of a damped Kronecker product and
    of EKFAC (George et al. 2018).

    Args:
        bases: orthogonal matrices (n_i, n_i); None stands for the identity, which is never formed.
        values: eigenvalues (n_1, …, n_k).
        space: the parameters that its rows stand for.
    """

    structure: ClassVar[str] = "kronecker-eigen"

    def __init__(
        self,
        bases: Sequence[Array | None],
        values: Array,
        *,
        backend: Backend | None = None,
        space: ParameterSpace | None = None,
    ) -> None:
        from ..registry import backend_of

        self.backend = backend_of(values) if backend is None else backend
        sizes = tuple(int(n) for n in values.shape)
        if len(bases) != len(sizes) or any(q is not None and tuple(q.shape) != (n, n) for q, n in zip(bases, sizes, strict=True)):
            shapes = ["the identity" if q is None else tuple(q.shape) for q in bases]
            raise ShapeError(f"bases {shapes} do not fit eigenvalues {tuple(values.shape)}")
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
        moved = [None if q is None else function(q) for q in self.bases]
        return KroneckerEigen(moved, function(self.values), backend=backend, space=self.space)

    def _in_basis(self, v: Array, values: Array) -> Array:
        xp = self.xp
        sizes = tuple(int(n) for n in self.values.shape)
        transposes = [None if q is None else xp.matrix_transpose(q) for q in self.bases]
        rotated = apply_factors(xp, transposes, v, sizes)
        return apply_factors(xp, self.bases, xp.reshape(values, (-1, 1)) * rotated, sizes)

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
        squared = [None if q is None else q * q for q in self.bases]
        sizes = tuple(int(n) for n in self.values.shape)
        return apply_factors(self.xp, squared, self.xp.reshape(self.values, (-1, 1)), sizes)[:, 0]

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
            columns.append(self._identity_columns(size, rest % size) if q is None else xp.take(q, rest % size, axis=1))
            rest = rest // size
        vectors = columns[-1]
        for column in reversed(columns[:-1]):
            vectors = xp.reshape(vectors[:, None, :] * column[None, :, :], (-1, vectors.shape[1]))
        return xp.take(flat, order), vectors

    def _identity_columns(self, size: int, indices: Array) -> Array:
        xp = self.xp
        rows = xp.arange(size, dtype=indices.dtype, device=self._device)
        return xp.astype(rows[:, None] == indices[None, :], self.dtype)

    def scaled(self, factor: Any) -> KroneckerEigen:
        return self._like(self.values * factor)
