"""A symmetric matrix of low rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ..backend.values import has_values
from ..errors import DataError, ShapeError
from ..trees import ParameterSpace, count
from .base import Operator
from .checks import check_rank, require_floating
from .damping import check_damping
from .low_rank_forms import SpectralForm, orthonormal_form, significant
from .low_rank_plus_diagonal import LowRankPlusDiagonal
from .spectral import require_positive

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


class LowRank(Operator):
    """U diag(λ) Uᵀ with orthonormal columns U (P, k): k eigenpairs, and P - k eigenvalues that are zero.

    Every operation is exact and costs O(P k) for each vector, but for all P eigenvectors at once. Damped inverses and
    powers are of low rank plus diagonal: (A + δI)⁻¹ = (I - U diag(λ / (λ + δ)) Uᵀ) / δ.

    Args:
        vectors: U (P, k), k ≤ P; k may be 0.
        values: λ (k,), of any sign.
        space: the parameters that its rows stand for.
        orthonormal: whether the columns are; by default that is looked at, at the cost of one product with k columns.

    Raises:
        ShapeError: if the arrays do not fit each other or ``space``.
        DataError: if the columns are not orthonormal to 1e4 eps, or the arrays have two dtypes.
    """

    structure: ClassVar[str] = "low-rank"

    def __init__(
        self,
        vectors: Array,
        values: Array,
        *,
        backend: Backend | None = None,
        space: ParameterSpace | None = None,
        orthonormal: bool | None = None,
    ) -> None:
        from ..registry import backend_of

        self.backend = backend_of(vectors) if backend is None else backend
        if vectors.ndim != 2 or values.ndim != 1 or vectors.shape[1] != values.shape[0]:
            raise ShapeError(
                f"a matrix (P, k) and k values are needed, got arrays of shapes {tuple(vectors.shape)} and {tuple(values.shape)}"
            )
        if space is not None and vectors.shape[0] != space.size:
            raise ShapeError(f"a matrix of shape {tuple(vectors.shape)} does not fit {space.size} parameters")
        for name, array in (("vectors", vectors), ("values", values)):
            require_floating(self.xp, array, f"the {name} of a low-rank operator")
        if vectors.dtype != values.dtype:
            raise DataError(f"the vectors are of {vectors.dtype}, the values of {values.dtype}: convert one of them, xp.astype")
        self.vectors = vectors
        self.values = values
        self.space = space
        if not orthonormal:
            self._check_orthonormal()

    def _check_orthonormal(self) -> None:
        xp, u = self.xp, self.vectors
        if count(u) == 0 or not has_values(u):
            return
        gap = float(xp.max(xp.abs(xp.matrix_transpose(u) @ u - self._identity(int(u.shape[1])))))
        if not gap <= 1e4 * float(xp.finfo(u.dtype).eps):
            raise DataError(
                f"the columns of a low-rank operator are orthonormal, these are not (UᵀU differs from I by {gap:.3g}); "
                "make it with LowRank.of_product(Y, C) or LowRank.of_factor(Y)"
            )

    @classmethod
    def of_factor(cls, factor: Array, *, backend: Backend | None = None, space: ParameterSpace | None = None) -> LowRank:
        """Y Yᵀ of any Y (P, k), by the singular values of Y: its rank is that of Y to working precision."""
        from ..registry import backend_of

        backend = backend_of(factor) if backend is None else backend
        xp = backend.xp
        if factor.ndim != 2:
            raise ShapeError(f"a factor is a matrix (P, k), got an array of shape {tuple(factor.shape)}")
        if count(factor) == 0:
            empty = xp.zeros((0,), dtype=factor.dtype, device=backend.device)
            return cls(factor[:, :0], empty, backend=backend, space=space, orthonormal=True)
        # Of Y itself, for squares lose the small ones; of R in Y = Q R, for it is small.
        q, r = xp.linalg.qr(factor, mode="reduced")
        left, singular, _ = xp.linalg.svd(r, full_matrices=False)
        if has_values(singular):
            rank = significant(xp, singular, float(singular[0]))
            left, singular = left[:, :rank], singular[:rank]
        return cls(q @ left, singular**2, backend=backend, space=space, orthonormal=True)

    @classmethod
    def of_product(
        cls, factor: Array, core: Array, *, backend: Backend | None = None, space: ParameterSpace | None = None
    ) -> LowRank:
        """Y C Yᵀ of any Y (P, k) and symmetric C (k, k), or the vector of its diagonal (k,); exact."""
        from ..registry import backend_of

        backend = backend_of(factor) if backend is None else backend
        vectors, values = orthonormal_form(backend, factor, core)
        return cls(vectors, values, backend=backend, space=space, orthonormal=True)

    @property
    def shape(self) -> tuple[int, int]:
        n = int(self.vectors.shape[0])
        return (n, n)

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    @property
    def rank(self) -> int:
        """k."""
        return int(self.values.shape[0])

    def _like(self, values: Array) -> LowRank:
        return LowRank(self.vectors, values, backend=self.backend, space=self.space, orthonormal=True)

    def plus(self, entries: Array) -> LowRankPlusDiagonal:
        """U diag(λ) Uᵀ + diag(entries)."""
        return LowRankPlusDiagonal(entries, self.vectors, self.values, backend=self.backend, space=self.space)

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> LowRank:
        return LowRank(function(self.vectors), function(self.values), backend=backend, space=self.space, orthonormal=True)

    def _matmat(self, v: Array) -> Array:
        return self.vectors @ (self.values[:, None] * (self.xp.matrix_transpose(self.vectors) @ v))

    def scaled(self, factor: Any) -> LowRank:
        return self._like(self.values * factor)

    def block(self, name: str) -> LowRank:
        if self.space is None:
            raise ShapeError("this operator does not know any parameters, so it has no named blocks")
        index = self.space.index(name)
        rows = self.vectors[self.space.offsets[index] : self.space.offsets[index + 1], :]
        return LowRank.of_product(rows, self.values, backend=self.backend)

    # Functions of the eigenvalues ---------------------------------------------------------------------

    @property
    def _form(self) -> SpectralForm:
        return SpectralForm(self.backend, self.vectors, self.values, 0.0)

    def _solve(self, v: Array, damping: Any) -> Array:
        inside, outside = self._form.powers(-1, damping)
        coordinates = self.xp.matrix_transpose(self.vectors) @ v
        solved = self.vectors @ (inside[:, None] * coordinates)
        return solved if outside is None else solved + outside * (v - self.vectors @ coordinates)

    def inverse(self, damping: Any = 0.0) -> Operator:
        return self.power(-1, damping)

    def power(self, p: float, damping: Any = 0.0) -> Operator:
        inside, outside = self._form.powers(p, check_damping(damping))
        if outside is None:
            return self._like(inside)
        return self._like(inside - outside).plus(self.xp.zeros((self.shape[0],), dtype=self.dtype, device=self._device) + outside)

    def logdet(self, damping: Any = 0.0) -> Array:
        xp, damping = self.xp, check_damping(damping)
        require_positive(xp, self._form.spectrum + damping, "logdet")
        total, missing = xp.sum(xp.log(self.values + damping)), self.shape[0] - self.rank
        return total + missing * xp.log(xp.zeros_like(total) + damping) if missing else total

    def trace(self) -> Array:
        return self.xp.sum(self.values)

    def diagonal(self) -> Array:
        return self.xp.sum(self.vectors * self.vectors * self.values, axis=1)

    def norm(self, order: str | int = "fro") -> Array:
        return self._form.norm(order)

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        check_rank(k, self.shape[0])
        if k is None and self.shape[0] > self.dense_limit:
            return super().eigh(k)
        return self._form.eigenpairs(k)
