"""A dense matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ..backend.values import has_values
from ..errors import DataError, ShapeError, SingularMatrixError
from ..trees import ParameterSpace, count
from .base import Operator
from .checks import check_rank, require_floating
from .damping import check_damping, is_zero
from .spectral import largest_in_magnitude, log_determinant, powered

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


class Dense(Operator):
    """An explicit matrix (m, n).

    Args:
        array: the matrix.
        space: the parameters that its rows stand for.
        symmetric: whether it is symmetric; by default it is looked at, to 1e4 eps of its largest entry.

    Raises:
        ShapeError: if it is no matrix or does not fit ``space``.
        DataError: if it holds NaN or infinities.
    """

    structure: ClassVar[str] = "dense"

    def __init__(
        self,
        array: Array,
        *,
        backend: Backend | None = None,
        space: ParameterSpace | None = None,
        symmetric: bool | None = None,
    ) -> None:
        from ..registry import backend_of

        self.backend = backend_of(array) if backend is None else backend
        if array.ndim != 2:
            raise ShapeError(f"a dense operator needs a matrix, got an array of shape {tuple(array.shape)}")
        if space is not None and array.shape[0] != space.size:
            raise ShapeError(f"a matrix of shape {tuple(array.shape)} does not fit {space.size} parameters")
        require_floating(self.xp, array, "a dense operator")
        self.array = array
        self.space = space
        self.symmetric = self._looks_symmetric() if symmetric is None else symmetric
        self._eigen: tuple[Array, Array] | None = None
        self._factor: tuple[Any, Array] | None = None

    def _looks_symmetric(self) -> bool:
        a, xp = self.array, self.xp
        if a.shape[0] != a.shape[1]:
            return False
        if count(a) == 0:
            return True
        if not has_values(a):
            return False
        largest = float(xp.max(xp.abs(a)))
        if not largest < float("inf"):
            raise DataError("the matrix holds NaN or infinite entries")
        gap = float(xp.max(xp.abs(a - xp.matrix_transpose(a))))
        return gap <= 1e4 * float(xp.finfo(a.dtype).eps) * largest

    @property
    def shape(self) -> tuple[int, int]:
        return (int(self.array.shape[0]), int(self.array.shape[1]))

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    def _like(self, array: Array, *, symmetric: bool | None = None) -> Dense:
        return Dense(
            array,
            backend=self.backend,
            space=self.space,
            symmetric=self.symmetric if symmetric is None else symmetric,
        )

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> Dense:
        return Dense(function(self.array), backend=backend, space=self.space, symmetric=self.symmetric)

    def _matmat(self, v: Array) -> Array:
        return self.array @ v

    def _transpose(self) -> Dense:
        return self._like(self.xp.matrix_transpose(self.array))

    def _damped(self, damping: Any) -> Array:
        # A Python zero adds nothing: spare the copy.
        if is_zero(damping):
            return self.array
        return self.array + damping * self._identity(self.shape[0])

    def _cholesky(self, damping: Any) -> Array | None:
        """The lower factor of A + damping·I, or None where it is not safely positive definite. The last one is kept."""
        if self._factor is not None and isinstance(damping, (int, float)) and self._factor[0] == damping:
            return self._factor[1]
        lower, ok = self.backend.cholesky(self._damped(damping))
        if not has_values(lower):
            return lower
        if not ok:
            return None
        xp, n = self.xp, self.shape[0]
        pivots = xp.reshape(lower, (-1,))[:: n + 1] ** 2
        if n and float(xp.min(pivots)) <= float(xp.finfo(self.dtype).eps) * n * float(xp.max(pivots)):
            return None
        self._factor = (damping, lower)
        return lower

    def solve_factored(self, v: Array, damping: Any = 0.0) -> Array | None:
        """(A + damping·I)⁻¹ v for v (P,) or (P, K) by Cholesky's factorisation; None where that is not safely possible."""
        lower = self._cholesky(damping)
        if lower is None:
            return None
        columns = v[:, None] if v.ndim == 1 else v
        half = self.backend.solve_triangular(lower, columns, lower=True)
        x = self.backend.solve_triangular(lower, half, lower=True, transposed=True)
        return x[:, 0] if v.ndim == 1 else x

    def _solve(self, v: Array, damping: Any) -> Array:
        if self.symmetric:
            found = self.solve_factored(v, damping)
            if found is not None:
                return found
            # Indefinite or singular: the eigenvalues tell which, and name the damping that would do.
            values, vectors = self._eigendecomposition()
            inverse = powered(self.xp, values, -1, damping)
            return vectors @ (inverse[:, None] * (self.xp.matrix_transpose(vectors) @ v))
        xp = self.xp
        damped = self._damped(damping)
        if not has_values(damped):
            return xp.linalg.solve(damped, v)
        singular = xp.linalg.svdvals(damped)
        largest, smallest = float(xp.max(singular)), float(xp.min(singular))
        if smallest <= float(xp.finfo(self.dtype).eps) * self.shape[0] * largest:
            raise SingularMatrixError(
                f"the operator is singular to working precision (singular values from {smallest:.3g} to {largest:.3g})"
            )
        return xp.linalg.solve(damped, v)

    def inverse(self, damping: Any = 0.0) -> Dense:
        self._require_square("inverse")
        damping = check_damping(damping)
        lower = self._cholesky(damping) if self.symmetric else None
        if lower is not None:
            return self._like(self.backend.inverse_by_factor(lower))
        inverse = self._solve(self._identity(self.shape[0]), damping)
        if self.symmetric:
            inverse = (inverse + self.xp.matrix_transpose(inverse)) / 2
        return self._like(inverse)

    def _eigendecomposition(self) -> tuple[Array, Array]:
        if self._eigen is not None:
            return self._eigen
        eigen = self.backend.eigh(self.array)
        if has_values(eigen[0]):  # what belongs to a program that is being compiled must not outlive it
            self._eigen = eigen
        return eigen

    def power(self, p: float, damping: Any = 0.0) -> Dense:
        self._require_symmetric("power")
        damping = check_damping(damping)
        values, vectors = self._eigendecomposition()
        scaled = vectors * powered(self.xp, values, p, damping)[None, :]
        return self._like(scaled @ self.xp.matrix_transpose(vectors))

    def logdet(self, damping: Any = 0.0) -> Array:
        self._require_symmetric("logdet")
        damping = check_damping(damping)
        lower = self._cholesky(damping)
        if lower is None:
            return log_determinant(self.xp, self._eigendecomposition()[0], damping)
        return 2.0 * self.xp.sum(self.xp.log(self.xp.reshape(lower, (-1,))[:: self.shape[0] + 1]))

    def diagonal(self) -> Array:
        self._require_square("diagonal")
        return self.xp.reshape(self.array, (-1,))[:: self.shape[0] + 1]

    def norm(self, order: str | int = "fro") -> Array:
        if order == "fro":
            return self.xp.sqrt(self.xp.sum(self.array**2))
        if order == 2:
            return self.xp.max(self.xp.linalg.svdvals(self.array))
        raise ValueError(f"the norms are 'fro' and 2, got {order!r}")

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        self._require_symmetric("eigh")
        check_rank(k, self.shape[0])
        values, vectors = self._eigendecomposition()
        if k is None:
            return values, vectors
        order = largest_in_magnitude(self.xp, values, k)
        return self.xp.take(values, order), self.xp.take(vectors, order, axis=1)

    def to_dense(self) -> Array:
        return self.array

    def block(self, name: str) -> Dense:
        if self.space is None:
            raise ShapeError("this operator does not know any parameters, so it has no named blocks")
        index = self.space.index(name)
        start, stop = self.space.offsets[index], self.space.offsets[index + 1]
        return Dense(self.array[start:stop, start:stop], backend=self.backend, symmetric=self.symmetric)

    def scaled(self, factor: Any) -> Dense:
        return self._like(self.array * factor)
