"""The Jacobian of the outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ..backend import Backend
from ..errors import UnsupportedError
from ..operators import Operator
from ..problem import Problem

Array = Any
Tree = Any


class Jacobian(Operator):
    """J (N·C, P): derivatives of all outputs, example by example, batch after batch.

    ``J @ v`` takes a vector, a matrix or a params tree and gives the outputs' tangent, flat; ``J.T @ u`` takes that
    form and gives a flat vector.
    """

    structure: ClassVar[str] = "matrix-free"
    symmetric = False

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.backend = problem.backend
        self.space = problem.space
        self._rows: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        if self._rows is None:
            rows = 0
            for batch in self.problem.batches():
                outputs = self.backend.evaluate(self.problem.outputs_of(batch), self.problem.params)
                rows += int(outputs.shape[0] * outputs.shape[1])
            self._rows = rows
        return (self._rows, self.problem.space.size)

    @property
    def dtype(self) -> Any:
        return self.problem.model.dtype

    def _matmat(self, v: Array) -> Array:
        xp, problem = self.xp, self.problem
        pieces = []
        for batch in problem.batches():
            _, push, _ = self.backend.linearize(problem.outputs_of(batch), problem.params)
            columns = [push(problem.space.unravel(xp, v[:, j])) for j in range(v.shape[1])]
            pieces.append(xp.stack([xp.reshape(column, (-1,)) for column in columns], axis=1))
        return xp.concat(pieces, axis=0)

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Operator) or (hasattr(other, "shape") and hasattr(other, "dtype")):
            return super().__matmul__(other)
        # The outputs are no params tree, so the result stays flat.
        flat = self.problem.space.ravel(self.xp, other, what="the vector")
        return self._matmat(flat[:, None])[:, 0]

    def _transpose(self) -> Operator:
        return _JacobianTranspose(self)

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> Operator:
        raise UnsupportedError("a Jacobian holds no arrays that could be moved; move the problem, or J.to_dense()")


class _JacobianTranspose(Operator):
    """Jᵀ (P, N·C)."""

    structure: ClassVar[str] = "matrix-free"
    symmetric = False

    def __init__(self, jacobian: Jacobian) -> None:
        self._jacobian = jacobian
        self.backend = jacobian.backend
        self.space = None

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self._jacobian.shape
        return (columns, rows)

    @property
    def dtype(self) -> Any:
        return self._jacobian.dtype

    def _matmat(self, v: Array) -> Array:
        xp, problem = self.xp, self._jacobian.problem
        start, total = 0, None
        for batch in problem.batches():
            outputs, pull = self.backend.vjp(problem.outputs_of(batch), problem.params)
            stop = start + int(outputs.shape[0] * outputs.shape[1])
            columns = [problem.space.ravel(xp, pull(xp.reshape(v[start:stop, j], outputs.shape))) for j in range(v.shape[1])]
            product = xp.stack(columns, axis=1)
            total, start = product if total is None else total + product, stop
        return total

    def _transpose(self) -> Operator:
        return self._jacobian

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> Operator:
        return self._jacobian.map_arrays(function, backend)
