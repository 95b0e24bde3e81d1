"""A matrix that is diagonal in a Kronecker-factored orthonormal basis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

from ..backend.values import has_values
from ..errors import ShapeError
from ..trees import ParameterSpace
from .base import Operator
from .checks import check_rank
from .damping import check_damping, is_zero
from .spectral import largest_in_magnitude, log_determinant, on_worst_rows, powered, powered_by_rows

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


def outer(xp: Any, vectors: Sequence[Array]) -> Array:
    """The outer product a_i b_j … of vectors, as an array (n_1, …, n_k)."""
    return reduce(lambda a, b: a[..., None] * b, vectors)


def apply_factors(xp: Any, factors: Sequence[Array | None], v: Array, sizes: Sequence[int] | None = None) -> Array:
    """(A_1 ⊗ … ⊗ A_k) V for V (Π n_i, K) and A_i (m_i, n_i), one factor at a time: never forms the product.

    A factor None is the identity; then ``sizes``, its n_i and those of the others, are needed.
    """
    k = int(v.shape[1])
    if len(factors) == 2 and k == 1:
        left, right = factors
        if left is not None and right is not None:
            matrix = xp.reshape(v, (left.shape[1], right.shape[1]))
            return xp.reshape(left @ matrix @ xp.matrix_transpose(right), (-1, 1))
    total, before = int(v.shape[0]), 1
    for position, factor in enumerate(factors):
        if factor is None:
            assert sizes is not None
            before *= sizes[position]
            continue
        m, n = (int(length) for length in factor.shape)
        # (before, n, after·K): matmul broadcasts over the leading axis.
        v = factor @ xp.reshape(v, (before, n, (total // (before * n)) * k))
        total, before = (total // n) * m, before * m
    return xp.reshape(v, (total, k))


class KroneckerEigen(Operator):
    """Q diag(values) Qᵀ + complement · (I - Q Qᵀ), Q = Q_1 ⊗ … ⊗ Q_k with orthonormal columns.

    It is the form of a damped Kronecker product and of EKFAC (George et al. 2018). Bases may be thin: few examples span
    few directions, and all others share one eigenvalue, 0 or the damping.

    Args:
        bases: matrices (n_i, r_i), r_i ≤ n_i, with orthonormal columns; None stands for the identity, which is never formed.
        values: eigenvalues (r_1, …, r_k).
        complement: eigenvalue of all directions outside of the span of Q, a number or a 0-d array.
        space: the parameters that its rows stand for.

    Raises:
        ShapeError: if the bases do not fit the eigenvalues.
    """

    structure: ClassVar[str] = "kronecker-eigen"

    def __init__(
        self,
        bases: Sequence[Array | None],
        values: Array,
        *,
        complement: Any = 0.0,
        backend: Backend | None = None,
        space: ParameterSpace | None = None,
    ) -> None:
        from ..registry import backend_of

        self.backend = backend_of(values) if backend is None else backend
        ranks = tuple(int(n) for n in values.shape)
        fits = len(bases) == len(ranks) and all(
            q is None or (q.ndim == 2 and q.shape[1] == r <= q.shape[0]) for q, r in zip(bases, ranks, strict=True)
        )
        if not fits:
            shapes = ["the identity" if q is None else tuple(q.shape) for q in bases]
            raise ShapeError(f"bases {shapes} do not fit eigenvalues {tuple(values.shape)}")
        self.bases = tuple(bases)
        self.values = values
        self.space = space
        self.sizes = tuple(r if q is None else int(q.shape[0]) for q, r in zip(bases, ranks, strict=True))
        self.complement = complement if self.codimension else 0.0

    @property
    def shape(self) -> tuple[int, int]:
        n = math.prod(self.sizes)
        return (n, n)

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    @property
    def codimension(self) -> int:
        """Number of directions outside of the span of the bases."""
        return math.prod(self.sizes) - math.prod(int(r) for r in self.values.shape)

    def _like(self, values: Array, complement: Any) -> KroneckerEigen:
        return KroneckerEigen(self.bases, values, complement=complement, backend=self.backend, space=self.space)

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> KroneckerEigen:
        moved = [None if q is None else function(q) for q in self.bases]
        complement = function(self.complement) if hasattr(self.complement, "shape") else self.complement
        return KroneckerEigen(moved, function(self.values), complement=complement, backend=backend, space=self.space)

    # Functions of the eigenvalues ---------------------------------------------------------------------

    def _spectrum(self, damping: Any) -> tuple[Array, int]:
        """The eigenvalues as a vector, that of the complement, where there is one, once and last; and of how many eigenvalues
        the error is: that of a product of factors is of the sum of their sizes.

        With damping what is negative by rounding is 0, and the damping is then known to the last digit: a solve is not
        refused for an error that the damping hides.
        """
        xp, flat = self.xp, self.xp.reshape(self.values, (-1,))
        if self.codimension:
            flat = xp.concat([flat, xp.ones_like(flat[:1]) * self.complement])
        size = sum(self.sizes)
        if is_zero(damping):
            return flat, size
        tiny = float(xp.finfo(self.dtype).eps) * size * xp.max(xp.abs(flat))
        return xp.where((flat < 0) & (flat >= -tiny), xp.zeros_like(flat), flat), 1

    def _powered(self, p: float, damping: Any) -> tuple[Array, Any]:
        """The p-th powers of the damped eigenvalues, and that of the complement. The last ones are kept."""
        kept = self._kept
        if kept is not None and isinstance(damping, (int, float)) and kept[0] == (p, damping):
            return kept[1]
        powers: tuple[Array, Any]
        if self.codimension and p > 0 and is_zero(self.complement) and is_zero(damping):
            powers = powered(self.xp, self.values, p, damping, size=sum(self.sizes)), 0.0
        else:
            flat, size = self._spectrum(damping)
            if self._rows:
                powers = self._from_rows(powered_by_rows(self.xp, self._in_rows(flat), p, damping, size=size)), 0.0
            else:
                flat = powered(self.xp, flat, p, damping, size=size)
                values = self.xp.reshape(flat[: math.prod(self.values.shape)], tuple(self.values.shape))
                powers = values, (flat[-1] if self.codimension else 0.0)
        if isinstance(damping, (int, float)) and has_values(self.values):
            self._kept = ((p, damping), powers)
        return powers

    @property
    def _rows(self) -> list[int]:
        """Axes of factors that are diagonal themselves and bring no error: what is rounding hangs on the others' eigenvalues."""
        return [] if self.codimension else [axis for axis, basis in enumerate(self.bases) if basis is None]

    def _in_rows(self, flat: Array) -> Array:
        xp, shape = self.xp, tuple(int(n) for n in self.values.shape)
        moved = xp.permute_dims(xp.reshape(flat, shape), self._rows_first)
        return xp.reshape(moved, (math.prod(shape[axis] for axis in self._rows), -1))

    def _from_rows(self, rows: Array) -> Array:
        xp, order = self.xp, self._rows_first
        moved = xp.reshape(rows, tuple(int(self.values.shape[axis]) for axis in order))
        return xp.permute_dims(moved, tuple(order.index(axis) for axis in range(len(order))))

    @property
    def _rows_first(self) -> tuple[int, ...]:
        return (*self._rows, *(axis for axis in range(len(self.bases)) if axis not in self._rows))

    _kept: tuple[tuple[float, float], tuple[Array, Any]] | None = None

    def _in_basis(self, v: Array, values: Array, complement: Any) -> Array:
        xp = self.xp
        transposes = [None if q is None else xp.matrix_transpose(q) for q in self.bases]
        rotated = apply_factors(xp, transposes, v, self.sizes)
        outside = bool(self.codimension) and not is_zero(complement)
        factor = values - complement if outside else values
        ranks = tuple(int(r) for r in self.values.shape)
        result = apply_factors(xp, self.bases, xp.reshape(factor, (-1, 1)) * rotated, ranks)
        return result + complement * v if outside else result

    def _matmat(self, v: Array) -> Array:
        return self._in_basis(v, self.values, self.complement)

    def _solve(self, v: Array, damping: Any) -> Array:
        return self._in_basis(v, *self._powered(-1, damping))

    def inverse(self, damping: Any = 0.0) -> KroneckerEigen:
        return self.power(-1, damping)

    def power(self, p: float, damping: Any = 0.0) -> KroneckerEigen:
        return self._like(*self._powered(p, check_damping(damping)))

    def scaled(self, factor: Any) -> KroneckerEigen:
        return self._like(self.values * factor, self.complement if is_zero(self.complement) else self.complement * factor)

    # Numbers ------------------------------------------------------------------------------------------

    def logdet(self, damping: Any = 0.0) -> Array:
        damping = check_damping(damping)
        spectrum, size = self._spectrum(damping)
        if self._rows:
            shifted = self._in_rows(spectrum) + damping
            on_worst_rows(self.xp, shifted, lambda row: log_determinant(self.xp, row, 0.0, size=size))
            return self.xp.sum(self.xp.log(shifted))
        total = log_determinant(self.xp, spectrum, damping, size=size)
        if self.codimension > 1:
            total = total + (self.codimension - 1) * self.xp.log(spectrum[-1] + damping)
        return total

    def trace(self) -> Array:
        total = self.xp.sum(self.values)
        return total if is_zero(self.complement) else total + self.codimension * self.complement

    def diagonal(self) -> Array:
        # diag(Q Λ Qᵀ) = (Q ∘ Q) λ, and (Q_1 ⊗ Q_2) ∘ (Q_1 ⊗ Q_2) = (Q_1 ∘ Q_1) ⊗ (Q_2 ∘ Q_2).
        squared = [None if q is None else q * q for q in self.bases]
        ranks = tuple(int(r) for r in self.values.shape)
        values = self.xp.reshape(self.values - self.complement, (-1, 1))
        return apply_factors(self.xp, squared, values, ranks)[:, 0] + self.complement

    def norm(self, order: str | int = "fro") -> Array:
        xp = self.xp
        if order == "fro":
            total = xp.sum(self.values**2)
            return xp.sqrt(total if is_zero(self.complement) else total + self.codimension * self.complement**2)
        if order == 2:
            return xp.max(xp.abs(self._spectrum(0.0)[0]))
        raise ValueError(f"the norms are 'fro' and 2, got {order!r}")

    # Eigenvectors -------------------------------------------------------------------------------------

    def completed(self) -> KroneckerEigen:
        """The same matrix with square bases: each is completed by an orthonormal basis of what it does not span."""
        xp, bases, values = self.xp, [], self.values
        for axis, (q, n) in enumerate(zip(self.bases, self.sizes, strict=True)):
            missing = n - int(values.shape[axis])
            if missing:
                rest = xp.linalg.qr(q, mode="complete")[0][:, n - missing :]
                q = xp.concat([q, rest], axis=1)
                shape = (*values.shape[:axis], missing, *values.shape[axis + 1 :])
                outside = xp.zeros(shape, dtype=self.dtype, device=self._device) + self.complement
                values = xp.concat([values, outside], axis=axis)
            bases.append(q)
        return KroneckerEigen(bases, values, backend=self.backend, space=self.space)

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        xp = self.xp
        check_rank(k, self.shape[0])
        if self.codimension and (k is None or k > math.prod(self.values.shape) or not is_zero(self.complement)):
            return self.completed().eigh(k)
        flat = xp.reshape(self.values, (-1,))
        order = xp.argsort(flat) if k is None else largest_in_magnitude(xp, flat, k)
        # A column of the Kronecker product is the outer product of one column of each basis.
        columns, rest = [], order
        for q, rank in zip(reversed(self.bases), reversed(self.values.shape), strict=True):
            columns.append(self._identity_columns(rank, rest % rank) if q is None else xp.take(q, rest % rank, axis=1))
            rest = rest // rank
        vectors = columns[-1]
        for column in reversed(columns[:-1]):
            vectors = xp.reshape(vectors[:, None, :] * column[None, :, :], (-1, vectors.shape[1]))
        return xp.take(flat, order), vectors

    def _identity_columns(self, size: int, indices: Array) -> Array:
        xp = self.xp
        rows = xp.arange(size, dtype=indices.dtype, device=self._device)
        return xp.astype(rows[:, None] == indices[None, :], self.dtype)
