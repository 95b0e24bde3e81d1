"""Curvature matrices as operators over the data of a problem."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from ..errors import DataError
from ..operators import MatrixFree, Operator
from ..problem import Batch, Problem
from ..problem.memory import guarded
from ..trees import ParameterSpace, tree_map

Array = Any
Tree = Any


def added(total: list[Tree] | None, products: list[Tree], share: Any) -> list[Tree]:
    """total + share · products, trees all; no total yet is zero."""
    if isinstance(share, float) and share == 1.0:
        scaled = products
    else:
        scaled = [tree_map(lambda a: a * share, product) for product in products]
    if total is None:
        return scaled
    return [tree_map(lambda a, b: a + b, one, other) for one, other in zip(total, scaled, strict=True)]


def by_columns(xp: Any, space: ParameterSpace, v: Array, products: Callable[[list[Tree]], list[Tree]]) -> Array:
    """The products (P, K) with the columns of v, taken as params trees.

    Column by column in memory: to walk through one of K interleaved columns takes as long as to walk through them all.
    """
    columns = int(v.shape[1])
    if columns == 0:
        return v
    rows = xp.reshape(xp.reshape(xp.matrix_transpose(v), (-1,)), (columns, space.size))
    found = products([space.unravel(xp, rows[j, :]) for j in range(columns)])
    return xp.matrix_transpose(xp.stack([space.ravel(xp, product) for product in found], axis=0))


class CurvatureMatrix(MatrixFree):
    """A symmetric P × P matrix of a problem, known by its products; nothing is stored.

    Its scale is that of ``problem.loss()``: weights and reduction included.
    """

    def __init__(self, problem: Problem, *, tolerance: float | None = None) -> None:
        if not isinstance(problem, Problem):
            raise DataError(f"{type(self).__name__} takes a curvature.Problem, got a {type(problem).__name__}")
        super().__init__(
            self._over_data,
            problem.space.size,
            dtype=problem.model.dtype,
            backend=problem.backend,
            space=problem.space,
            tolerance=tolerance,
            of_trees=lambda tree: self._total([tree])[0],
        )
        self.problem = problem

    @abstractmethod
    def _batch_products(self, batch: Batch, tangents: list[Tree]) -> list[Tree]:
        """The matrix of the mean over one batch times each of the tangents."""

    @abstractmethod
    def at(self, problem: Problem) -> CurvatureMatrix:
        """The same kind of matrix, with the same options, of another problem."""

    def _over_data(self, v: Array) -> Array:
        return by_columns(self.xp, self.problem.space, v, self._total)

    def _total(self, tangents: list[Tree]) -> list[Tree]:
        """Products with params trees, over all batches."""
        problem, totals = self.problem, None
        for batch in problem.batches():
            share = problem.share(batch)
            with guarded(problem, batch):
                products = self._batch_products(batch, tangents)
            totals = added(totals, products, share)
        assert totals is not None
        return totals

    def _batch_map(self, batch: Batch) -> Callable[[Tree], Tree] | None:
        """``_batch_products`` of one tangent with all that does not depend on it done once, if there is such a thing."""
        return None

    def linearised(self) -> Operator:
        """The same matrix with forward passes done once: for many products. Holds the residuals of every batch."""
        problem = self.problem
        maps = []
        for batch in problem.batches():
            with guarded(problem, batch):
                product = self._batch_map(batch)
            if product is None:
                return self
            maps.append((product, problem.share(batch)))
        xp, space = self.xp, problem.space

        def total(tangents: list[Tree]) -> list[Tree]:
            sums: list[Tree] | None = None
            for product, share in maps:
                sums = added(sums, [product(tangent) for tangent in tangents], share)
            assert sums is not None
            return sums

        return MatrixFree(
            lambda v: by_columns(xp, space, v, total),
            self.shape[0],
            dtype=self.dtype,
            backend=self.backend,
            space=space,
            tolerance=self.tolerance,
            of_trees=lambda tree: total([tree])[0],
        )

    def for_repeated_products(self) -> Operator:
        """``linearised()`` of a single batch. Of more than one it would hold the residuals of all of them."""
        return self if self.problem.data.single is None else self.linearised()

    def _solve(self, v: Array, damping: Any) -> Array:
        kept = self.for_repeated_products()
        return super()._solve(v, damping) if kept is self else kept._solve(v, damping)
