"""What the side of the examples consists of: J̃, its Gram matrix, and the decompositions of that, made once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import curvature as cv
from curvature.operators import Dense
from curvature.trees import ParameterSpace

Array = Any
Pair = tuple[Array, Array]


class Side(ABC):
    """J̃ (m, P) and K = J̃ J̃ᵀ (m, m), which several operators share.

    Attributes:
        rcond: of pseudo-inverses, relative to the largest eigenvalue, or None for none.
    """

    def __init__(self, backend: cv.Backend, space: ParameterSpace | None, rcond: float | None, eigen: Pair | None = None) -> None:
        self.backend = backend
        self.space = space
        self.rcond = None if rcond is None else float(rcond)
        self._eigen = eigen

    shape: tuple[int, int]
    dtype: Any

    @abstractmethod
    def push(self, v: Array) -> Array:
        """J̃ v (m, K)."""

    @abstractmethod
    def pull(self, u: Array) -> Array:
        """J̃ᵀ u (P, K)."""

    @property
    @abstractmethod
    def gram(self) -> Dense:
        """K, symmetric positive semidefinite."""

    @abstractmethod
    def diagonal(self) -> Array:
        """The diagonal of J̃ᵀ J̃, (P,)."""

    @property
    def rank(self) -> int:
        """min(m, P): how many eigenvalues of J̃ᵀ J̃ need not be zero."""
        return min(self.shape)

    @property
    def eigen(self) -> Pair:
        """(λ, U): the ``rank`` largest eigenvalues of K, largest first, none negative, and their vectors (m, rank)."""
        if self._eigen is not None:
            return self._eigen
        xp = self.backend.xp
        values, vectors = self.gram.eigh()
        values, vectors = xp.flip(values)[: self.rank], xp.flip(vectors, axis=1)[:, : self.rank]
        # Rounding alone makes one negative.
        pair = xp.where(values > 0, values, xp.zeros_like(values)), vectors
        if not self.backend.is_abstract(values):  # what is made while a program is compiled belongs to that program
            self._eigen = pair
        return pair


class RowsSide(Side):
    """J̃ as an array (m, P)."""

    def __init__(
        self,
        rows: Array,
        backend: cv.Backend,
        *,
        space: ParameterSpace | None = None,
        rcond: float | None = None,
        eigen: Pair | None = None,
    ) -> None:
        super().__init__(backend, space, rcond, eigen)
        self.rows = rows
        self._gram: Dense | None = None
        self.shape = (int(rows.shape[0]), int(rows.shape[1]))
        self.dtype = rows.dtype

    def push(self, v: Array) -> Array:
        return self.rows @ v

    def pull(self, u: Array) -> Array:
        return self.backend.xp.matrix_transpose(self.rows) @ u

    @property
    def gram(self) -> Dense:
        if self._gram is not None:
            return self._gram
        array = self.backend.gram(self.backend.xp.matrix_transpose(self.rows))
        gram = Dense(array, backend=self.backend, symmetric=True)
        if not self.backend.is_abstract(array):
            self._gram = gram
        return gram

    def diagonal(self) -> Array:
        return self.backend.xp.sum(self.rows * self.rows, axis=0)

    def mapped(self, function: Callable[[Array], Array], backend: cv.Backend) -> RowsSide:
        """``function`` applied to each array. Eigenvectors go along: weights of an operator belong to them."""
        eigen = None if self._eigen is None else (function(self._eigen[0]), function(self._eigen[1]))
        return RowsSide(function(self.rows), backend, space=self.space, rcond=self.rcond, eigen=eigen)


class MatrixFreeSide(Side):
    """J̃ through the model; K is held."""

    def __init__(self, gram: cv.Gram, matrix: cv.GaussNewtonMatrix, *, rcond: float | None = None) -> None:
        super().__init__(gram.backend, matrix.space, rcond)
        self._gram = gram
        self.matrix = matrix
        self.shape = (gram.shape[0], matrix.shape[0])
        self.dtype = gram.dtype

    @property
    def gram(self) -> Dense:
        return self._gram

    def push(self, v: Array) -> Array:
        if v.shape[1] <= self.shape[0]:
            return self._gram.jacobian @ v
        return self.backend.xp.matrix_transpose(self._columns()) @ v

    def pull(self, u: Array) -> Array:
        return self._gram.jacobian.T @ u if u.shape[1] <= self.shape[0] else self._columns() @ u

    def _columns(self) -> Array:
        """J̃ᵀ (P, m) for the moment: fewer passes than for more than m vectors, and less memory than they take."""
        identity = self.backend.xp.eye(self.shape[0], dtype=self.dtype, device=self.backend.device)
        return self._gram.jacobian.T @ identity

    def diagonal(self) -> Array:
        """Squared gradients of the examples, summed; Σ (x - mean)² = Σ x² - mean² where the rows are centred."""
        matrix, xp = self.matrix, self.backend.xp
        partition = matrix.problem.structure.partition
        squares = matrix.average(matrix.squared_gradients)
        total = partition.scatter(xp, [squares[block.name][:, None] for block in partition.blocks])[:, 0]
        jacobian: Any = self._gram.jacobian
        if not jacobian.centred:
            return total
        means = jacobian.weighted_means()
        return total - xp.sum(means * means, axis=1)
