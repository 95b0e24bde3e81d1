"""A matrix whose inverse is cut short: products are exact, ``solve`` is not."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import curvature as cv
from curvature.operators import Dense, MatrixFree, Operator, check_damping

Array = Any
Tree = Any


class Truncated(Operator):
    """A symmetric matrix A with a truncated iteration in the place of its inverse.

    ``@`` and every operation but ``solve`` and ``inverse`` are those of the matrix itself.

    Args:
        matrix: A, any symmetric operator.
        near: an approximation of A whose inverse is cheap: the iteration is preconditioned by P = (near + damping·I)⁻¹.

    Raises:
        NotSymmetricError: if A or the preconditioner is not symmetric.
        ShapeError: if the two do not fit.
    """

    structure: ClassVar[str] = "truncated"

    def __init__(self, matrix: Operator, near: Operator | None = None) -> None:
        matrix._require_symmetric("a truncated inverse")
        if near is not None:
            near._require_symmetric("preconditioning")
            if near.shape != matrix.shape:
                raise cv.ShapeError(f"a preconditioner of shape {near.shape} for a matrix of shape {matrix.shape}")
        self.matrix = matrix
        self.near = near
        self.backend = matrix.backend
        self.space = matrix.space
        self._kept: tuple[Any, Operator] | None = None

    # What a subclass gives ----------------------------------------------------------------------------

    @abstractmethod
    def _with(self, matrix: Operator, near: Operator | None) -> Truncated:
        """The same method for another matrix."""

    @abstractmethod
    def _truncated(self, v: Array, damping: Any, initial: Array | None) -> Array:
        """Approximately (A + damping·I)⁻¹ V for V (n, K); an iteration that starts at ``initial``, or at zero."""

    # The inverse --------------------------------------------------------------------------------------

    def _solve(self, v: Array, damping: Any) -> Array:
        return self._truncated(v, damping, None)

    def solve_from(self, v: Any, initial: Any, damping: Any = 0.0) -> Any:
        """``solve(v, damping)`` by an iteration that starts at ``initial``, in the form of v; None starts at zero.

        For a sequence of similar systems: the solution of the last one is a good start.

        Raises:
            ShapeError: if ``initial`` has not the shape of v.
        """
        if initial is None:
            return self.solve(v, damping)
        start = self._columns(initial)
        wanted = self._columns(v).shape
        if start.shape != wanted:
            raise cv.ShapeError(f"the start has shape {tuple(start.shape)}, the right-hand side {tuple(wanted)}")
        damping = check_damping(damping)
        return self._on(v, lambda matrix: self._truncated(matrix, damping, start), rows=self.shape[0])

    def _columns(self, v: Any) -> Array:
        """A vector, a matrix or a tree as a matrix (n, K)."""
        seen: list[Array] = []
        self._on(v, lambda matrix: seen.append(matrix) or matrix, rows=self.shape[0])  # type: ignore[func-returns-value]
        return seen[0]

    def inverse(self, damping: Any = 0.0) -> Operator:
        """The truncated inverse of A + damping·I as an operator: the same as ``solve`` for each vector."""
        damping = check_damping(damping)
        return MatrixFree(
            lambda v: self._solve(v, damping), self.shape[0], dtype=self.dtype, backend=self.backend, space=self.space
        )

    def _preconditioning(self, damping: Any) -> Operator | None:
        """P of A + damping·I; the last one is kept."""
        if self.near is None:
            return None
        if not isinstance(damping, float):  # one that is traced is no value to compare
            return self.near.inverse(damping)
        if self._kept is None or self._kept[0] != damping:
            self._kept = (damping, self.near.inverse(damping))
        return self._kept[1]

    def preconditioner(self, damping: Any) -> Callable[[Array], Array] | None:
        p = self._preconditioning(damping)
        return self.matrix.preconditioner(damping) if p is None else p._matmat

    # The matrix ---------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape

    @property
    def dtype(self) -> Any:
        return self.matrix.dtype

    @property
    def dense_limit(self) -> int:
        return self.matrix.dense_limit

    @property
    def matrix_free(self) -> bool:
        return self.matrix.matrix_free

    def _matmat(self, v: Array) -> Array:
        return self.matrix._matmat(v)

    def _tree_product(self, tree: Tree) -> Tree | None:
        return self.matrix._tree_product(tree)

    def power(self, p: float, damping: Any = 0.0) -> Operator:
        return self.matrix.power(p, damping)

    def logdet(self, damping: Any = 0.0) -> Array:
        return self.matrix.logdet(damping)

    def trace(self) -> Array:
        return self.matrix.trace()

    def diagonal(self) -> Array:
        return self.matrix.diagonal()

    def norm(self, order: str | int = "fro") -> Array:
        return self.matrix.norm(order)

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        return self.matrix.eigh(k)

    def sample(self, rng: cv.Rng, n: int, *, inverse: bool = True, damping: Any = 0.0) -> Array:
        return self.matrix.sample(rng, n, inverse=inverse, damping=damping)

    def to_dense(self) -> Array:
        return self.matrix.to_dense()

    def block(self, name: str) -> Operator:
        return self.matrix.block(name)

    def _inner(self, other: Operator) -> Array | None:
        return self.matrix._inner(other)

    def scaled(self, factor: Any) -> Operator:
        return self._with(self.matrix.scaled(factor), None if self.near is None else self.near.scaled(factor))

    def map_arrays(self, function: Callable[[Array], Array], backend: cv.Backend) -> Truncated:
        matrix = self._dense() if self.matrix.matrix_free else self.matrix
        near = None if self.near is None else self.near.map_arrays(function, backend)
        return self._with(matrix.map_arrays(function, backend), near)

    def _dense(self) -> Dense:
        """A matrix that is known by its products holds no arrays; its dense form does."""
        n = self.shape[0]
        if n > self.dense_limit:
            raise cv.UnsupportedError(
                f"a {type(self).__name__} keeps a matrix that is known by its products, and its dense form would take "
                f"{n**2 * 8 / 1e9:.0f} GB; move the problem instead, or an approximation with arrays, such as 'kfac'"
            )
        warnings.warn(
            f"moving a {type(self).__name__} builds a dense {n} × {n} matrix: the one that it keeps is known by its products",
            cv.DensifiedWarning,
            stacklevel=4,
        )
        dense = self.to_dense()
        return Dense((dense + self.xp.matrix_transpose(dense)) / 2, backend=self.backend, space=self.space, symmetric=True)
