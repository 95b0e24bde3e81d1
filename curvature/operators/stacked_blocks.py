"""Many blocks of one size, worked on all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ..backend.values import has_values
from ..errors import ShapeError, SingularMatrixError
from ..trees import ParameterSpace, count
from .base import Operator
from .checks import check_rank, require_floating
from .damping import check_damping, is_zero
from .dense import Dense
from .spectral import largest_in_magnitude, log_determinant, on_worst_rows, powered_by_rows, singular_threshold

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


class StackedBlocks(Operator):
    """Π · diag(A_1, …, A_B) · Πᵀ with B blocks of the same size m, kept as one array.

    Every operation is one batched call of the library instead of B calls: made for the output units of a layer, of which
    there are hundreds. A vector (B · m,) is seen as a matrix in row-major order, whose rows or columns are the blocks.

    Args:
        array: the blocks, (B, m, m).
        rows: whether the blocks are the rows of that matrix, (B, m); otherwise its columns, (m, B).
        space: the parameters that its rows stand for.
        symmetric: whether all blocks are symmetric; by default it is looked at, to 1e4 eps of the largest entry.

    Raises:
        ShapeError: if the array is no stack of square matrices or does not fit ``space``.
    """

    structure: ClassVar[str] = "stacked-blocks"

    def __init__(
        self,
        array: Array,
        *,
        rows: bool = True,
        backend: Backend | None = None,
        space: ParameterSpace | None = None,
        symmetric: bool | None = None,
    ) -> None:
        from ..registry import backend_of

        self.backend = backend_of(array) if backend is None else backend
        shape = tuple(int(n) for n in array.shape)
        if len(shape) != 3 or shape[1] != shape[2]:
            raise ShapeError(f"stacked blocks are an array (B, m, m), got one of shape {shape}")
        if space is not None and shape[0] * shape[1] != space.size:
            raise ShapeError(f"{shape[0]} blocks of {shape[1]} do not fit {space.size} parameters")
        require_floating(self.xp, array, "a stack of blocks")
        self.array = array
        self.rows = rows
        self.space = space
        self.symmetric = self._looks_symmetric() if symmetric is None else symmetric
        self._eigen: tuple[Array, Array] | None = None
        self._factor: tuple[Any, Array] | None = None

    def _looks_symmetric(self) -> bool:
        xp, a = self.xp, self.array
        if count(a) == 0:
            return True
        if not has_values(a):
            return False
        gap = float(xp.max(xp.abs(a - xp.matrix_transpose(a))))
        return gap <= 1e4 * float(xp.finfo(a.dtype).eps) * float(xp.max(xp.abs(a)))

    @property
    def number(self) -> int:
        """B, how many blocks there are."""
        return int(self.array.shape[0])

    @property
    def size(self) -> int:
        """m, the size of each block."""
        return int(self.array.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        n = self.number * self.size
        return (n, n)

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    def _like(self, array: Array, symmetric: bool | None = None) -> StackedBlocks:
        chosen = self.symmetric if symmetric is None else symmetric
        return StackedBlocks(array, rows=self.rows, backend=self.backend, space=self.space, symmetric=chosen)

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> StackedBlocks:
        return StackedBlocks(function(self.array), rows=self.rows, backend=backend, space=self.space, symmetric=self.symmetric)

    # Layout -------------------------------------------------------------------------------------------

    def gather(self, v: Array) -> Array:
        """(B, m, K) from rows (B · m, K)."""
        xp, k = self.xp, v.shape[-1]
        if self.rows:
            return xp.reshape(v, (self.number, self.size, k))
        return xp.permute_dims(xp.reshape(v, (self.size, self.number, k)), (1, 0, 2))

    def scatter(self, parts: Array) -> Array:
        """Rows (B · m, K) from (B, m, K): the inverse of ``gather``."""
        xp = self.xp
        ordered = parts if self.rows else xp.permute_dims(parts, (1, 0, 2))
        return xp.reshape(ordered, (self.number * self.size, parts.shape[-1]))

    # Operations ---------------------------------------------------------------------------------------

    def _matmat(self, v: Array) -> Array:
        return self.scatter(self.array @ self.gather(v))

    def _transpose(self) -> StackedBlocks:
        return self._like(self.xp.matrix_transpose(self.array))

    def _damped(self, damping: Any) -> Array:
        if is_zero(damping):
            return self.array
        return self.array + damping * self._identity(self.size)[None, :, :]

    def _eigendecomposition(self) -> tuple[Array, Array]:
        """Eigenvalues (B, m) and eigenvectors (B, m, m)."""
        if self._eigen is not None:
            return self._eigen
        found = self.backend.eigh(self.array)
        if has_values(found[0]):
            self._eigen = found
        return found

    def _cholesky(self, damping: Any) -> Array | None:
        """The lower factors of A_i + damping·I, or None where one is not safely positive definite. The last ones are kept."""
        if self._factor is not None and isinstance(damping, (int, float)) and self._factor[0] == damping:
            return self._factor[1]
        xp = self.xp
        lower, ok = self.backend.cholesky(self._damped(damping))
        if not has_values(lower):
            return lower
        if not ok:
            return None
        pivots = xp.linalg.diagonal(lower) ** 2
        tiny = float(xp.finfo(self.dtype).eps) * self.size
        if count(pivots) and bool(xp.any(xp.min(pivots, axis=1) <= tiny * xp.max(pivots, axis=1))):
            return None
        self._factor = (damping, lower)
        return lower

    def _solve(self, v: Array, damping: Any) -> Array:
        return self.scatter(self._solved(self.gather(v), damping))

    def _solved(self, parts: Array, damping: Any) -> Array:
        xp = self.xp
        if not self.symmetric:
            damped = self._damped(damping)
            _require_regular(xp, damped)
            return xp.linalg.solve(damped, parts)
        lower = self._cholesky(damping)
        if lower is not None:
            half = self.backend.solve_triangular(lower, parts, lower=True)
            return self.backend.solve_triangular(lower, half, lower=True, transposed=True)
        # A block is indefinite or singular: its eigenvalues tell which, and name the damping that would do.
        values, vectors = self._eigendecomposition()
        inverse = powered_by_rows(xp, values, -1, damping)
        return vectors @ (inverse[:, :, None] * (xp.matrix_transpose(vectors) @ parts))

    def inverse(self, damping: Any = 0.0) -> StackedBlocks:
        damping = check_damping(damping)
        xp = self.xp
        identity = xp.zeros_like(self.array) + self._identity(self.size)[None, :, :]
        inverse = self._solved(identity, damping)
        return self._like((inverse + xp.matrix_transpose(inverse)) / 2 if self.symmetric else inverse)

    def power(self, p: float, damping: Any = 0.0) -> StackedBlocks:
        self._require_symmetric("power")
        damping = check_damping(damping)
        values, vectors = self._eigendecomposition()
        scaled = vectors * powered_by_rows(self.xp, values, p, damping)[:, None, :]
        return self._like(scaled @ self.xp.matrix_transpose(vectors))

    def logdet(self, damping: Any = 0.0) -> Array:
        self._require_symmetric("logdet")
        damping = check_damping(damping)
        xp = self.xp
        lower = self._cholesky(damping)
        if lower is not None:
            return 2.0 * xp.sum(xp.log(xp.linalg.diagonal(lower)))
        shifted = self._eigendecomposition()[0] + damping
        on_worst_rows(xp, shifted, lambda row: log_determinant(xp, row, 0.0))
        return xp.sum(xp.log(shifted))

    def diagonal(self) -> Array:
        return self.scatter(self.xp.linalg.diagonal(self.array)[:, :, None])[:, 0]

    def trace(self) -> Array:
        return self.xp.sum(self.xp.linalg.diagonal(self.array))

    def norm(self, order: str | int = "fro") -> Array:
        if order == "fro":
            return self.xp.sqrt(self.xp.sum(self.array**2))
        if order == 2:
            return self.xp.max(self.xp.linalg.svdvals(self.array))
        raise ValueError(f"the norms are 'fro' and 2, got {order!r}")

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        self._require_symmetric("eigh")
        xp, n = self.xp, self.shape[0]
        check_rank(k, n)
        values, vectors = self._eigendecomposition()
        flat = xp.reshape(values, (-1,))
        order = xp.argsort(flat) if k is None else largest_in_magnitude(xp, flat, k)
        # Column c is an eigenvector of block c // m, and zero in the rows of all others.
        numbers = xp.arange(self.number, dtype=order.dtype, device=self._device)
        mine = xp.astype(numbers[:, None] == (order // self.size)[None, :], self.dtype)
        columns = xp.take(xp.reshape(xp.permute_dims(vectors, (1, 0, 2)), (self.size, n)), order, axis=1)
        return xp.take(flat, order), self.scatter(mine[:, None, :] * columns[None, :, :])

    def block(self, name: str) -> Operator:
        """The block number ``name`` ("0", "1", …), or the diagonal block of the parameter called so, dense."""
        if self.space is not None and name in self.space.names:
            return Dense(self.to_dense(), backend=self.backend, space=self.space, symmetric=self.symmetric).block(name)
        if not name.isdecimal() or int(name) >= self.number:
            known = "" if self.space is None else f"; or a parameter: {', '.join(self.space.names)}"
            raise ShapeError(f"no block is called {name!r}; they are numbered 0 … {self.number - 1}{known}")
        return Dense(self.array[int(name), :, :], backend=self.backend, symmetric=self.symmetric)

    def scaled(self, factor: Any) -> StackedBlocks:
        return self._like(self.array * factor)


def _require_regular(xp: Any, array: Array) -> None:
    """Raise unless every block is regular to working precision."""
    if count(array) == 0 or not has_values(array):
        return
    singular = xp.linalg.svdvals(array)
    ratios = singular[:, -1] / xp.where(singular[:, 0] > 0, singular[:, 0], xp.ones_like(singular[:, 0]))
    worst = int(xp.argmin(ratios))
    largest, smallest = float(singular[worst, 0]), float(singular[worst, -1])
    if smallest <= singular_threshold(xp, largest, int(array.shape[1]), array.dtype):
        raise SingularMatrixError(
            f"block {worst} is singular to working precision (singular values from {smallest:.3g} to {largest:.3g})"
        )
