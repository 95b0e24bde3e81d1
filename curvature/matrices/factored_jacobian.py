"""The factor J̃ of a Gauss-Newton matrix F = J̃ᵀ J̃, known by its products."""

from __future__ import annotations

from typing import Any

from ..problem import Batch, Problem
from ..problem.memory import guarded
from .gauss_newton import GaussNewtonMatrix
from .jacobian import Jacobian, _JacobianTranspose

Array = Any


class FactoredJacobian(Jacobian):
    """J̃ (N·R, P): the rows √(w_n · scale) S_nᵀ J_n, so that J̃ᵀ J̃ = Σ_n w_n J_nᵀ S_n S_nᵀ J_n is the matrix.

    Rows go example by example, the columns of S within an example, batch after batch.

    Args:
        matrix: ``curvature.Fisher(problem)``, …
        centred: the rows minus their weighted mean, column by column of S: then J̃ᵀ J̃ is the covariance of S_nᵀ J_n, as
            variational Monte Carlo needs it of log-derivatives.
    """

    def __init__(self, matrix: GaussNewtonMatrix, *, centred: bool = False) -> None:
        super().__init__(matrix.problem)
        self.matrix = matrix
        self.centred = centred
        self._roots: Array | None = None
        self._columns: int | None = None

    @property
    def columns(self) -> int:
        """R, the columns of S: rows that belong to one example."""
        if self._columns is None:
            self._columns = self.matrix.columns(next(self.problem.batches()))
        return self._columns

    @property
    def root_weights(self) -> Array:
        """√(w_n · scale) of every example, (N,)."""
        if self._roots is None:
            parts = [root_weights(self.problem, batch) for batch in self.problem.batches()]
            self._roots = parts[0] if len(parts) == 1 else self.xp.concat(parts)
        return self._roots

    @property
    def shape(self) -> tuple[int, int]:
        return (int(self.root_weights.shape[0]) * self.columns, self.problem.space.size)

    def centre(self, u: Array) -> Array:
        """Q u for u (N·R, K): Q = I - q qᵀ in each column of S, q_n = √w_n. It takes the weighted mean of rows away."""
        xp, shape, q = self.xp, tuple(u.shape), self._unit_weights()
        u, q = xp.reshape(u, (q.shape[0], self.columns, -1)), q[:, None, None]
        return xp.reshape(u - q * xp.sum(q * u, axis=0, keepdims=True), shape)

    def mean_columns(self) -> Array:
        """W (N·R, R) with √w_n in the rows of example n, so that Wᵀ W = I and Q = I - W Wᵀ."""
        xp, q = self.xp, self._unit_weights()
        identity = xp.eye(self.columns, dtype=self.dtype, device=self._device)
        return xp.reshape(q[:, None, None] * identity[None, :, :], (-1, self.columns))

    def weighted_means(self) -> Array:
        """√scale Σ_n w_n J_nᵀ S_n, (P, R): what centring takes away from the rows."""
        return self._pulled(self.mean_columns())

    def _unit_weights(self) -> Array:
        return self.root_weights * (1.0 / self.problem.scale**0.5)

    def _matmat(self, v: Array) -> Array:
        xp, problem, pieces = self.xp, self.problem, []
        for batch in problem.batches():
            with guarded(problem, batch):
                outputs, push, _ = self.backend.linearize(problem.outputs_of(batch), problem.params)
                factor = xp.matrix_transpose(self._factor(outputs, batch))
                tangents = [push(problem.space.unravel(xp, v[:, j])) for j in range(v.shape[1])]
                pieces.append(xp.reshape(factor @ xp.stack(tangents, axis=2), (-1, v.shape[1])))
        rows = pieces[0] if len(pieces) == 1 else xp.concat(pieces, axis=0)
        return self.centre(rows) if self.centred else rows

    def pull(self, u: Array) -> Array:
        """J̃ᵀ u (P, K) for u (N·R, K), by one backward pass for each column and batch."""
        return self._pulled(self.centre(u) if self.centred else u)

    def _pulled(self, u: Array) -> Array:
        xp, problem, start, total = self.xp, self.problem, 0, None
        for batch in problem.batches():
            with guarded(problem, batch):
                outputs, pull = self.backend.vjp(problem.outputs_of(batch), problem.params)
                factor = self._factor(outputs, batch)
                stop = start + batch.size * int(factor.shape[2])
                seeds = factor @ xp.reshape(u[start:stop, :], (batch.size, -1, u.shape[1]))
                columns = [problem.space.ravel(xp, pull(seeds[:, :, j])) for j in range(u.shape[1])]
            product, start = xp.stack(columns, axis=1), stop
            total = product if total is None else total + product
        return total

    def _factor(self, outputs: Array, batch: Batch) -> Array:
        """S (N, C, R) with the weights and the scale put in."""
        factor = self.matrix.factor(outputs, self.problem.targets(batch), batch)
        return factor * root_weights(self.problem, batch)[:, None, None]

    def _transpose(self) -> _FactoredTranspose:
        return _FactoredTranspose(self)


class _FactoredTranspose(_JacobianTranspose):
    """J̃ᵀ (P, N·R)."""

    _jacobian: FactoredJacobian

    def _matmat(self, v: Array) -> Array:
        return self._jacobian.pull(v)


def root_weights(problem: Problem, batch: Batch) -> Array:
    """√(w_n · scale) of the examples of a batch, (N,), with Σ w_n = 1 over all of the data."""
    xp, share = problem.xp, problem.share(batch)
    if batch.weights is not None:
        return xp.sqrt(batch.weights * (share / problem.weight(batch)))
    ones = xp.ones((batch.size,), dtype=problem.model.dtype, device=problem.backend.device)
    return ones * (share / batch.size) ** 0.5
