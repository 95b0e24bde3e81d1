"""Curvature matrices as operators over the data of a problem."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from ..errors import DataError
from ..operators import MatrixFree, Operator
from ..problem import Batch, Problem
from ..problem.memory import guarded

Array = Any
Tree = Any


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
        )
        self.problem = problem

    @abstractmethod
    def _batch_products(self, batch: Batch, tangents: list[Tree]) -> list[Tree]:
        """The matrix of the mean over one batch times each of the tangents."""

    @abstractmethod
    def at(self, problem: Problem) -> CurvatureMatrix:
        """The same kind of matrix, with the same options, of another problem."""

    def _over_data(self, v: Array) -> Array:
        xp, space, problem = self.xp, self.problem.space, self.problem
        tangents = [space.unravel(xp, v[:, j]) for j in range(v.shape[1])]
        totals: list[Array] | None = None
        for batch in problem.batches():
            share = problem._share(batch)
            with guarded(problem, batch):
                products = [space.ravel(xp, product) for product in self._batch_products(batch, tangents)]
            if share != 1.0:
                products = [product * share for product in products]
            totals = products if totals is None else [a + b for a, b in zip(totals, products, strict=True)]
        assert totals is not None
        return xp.stack(totals, axis=1)

    def linearised(self) -> Operator:
        """The same matrix with forward passes done once: for many products. Holds the residuals of every batch."""
        return self

    def _solve(self, v: Array, damping: Any) -> Array:
        kept = self.linearised()
        return super()._solve(v, damping) if kept is self else kept._solve(v, damping)
