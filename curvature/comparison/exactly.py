"""The metrics in closed form, from dense matrices in float64: for small models."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operators import Operator
from .dense import dense_of, on_host
from .number import Number
from .quality import Quality, directions, inverts, solved

Array = Any

ROUNDING = 1e-6
"""Asymmetry, relative to the largest entry, up to which the columns of ``solve`` are those of a symmetric matrix."""


class Exact:
    """The matrix F, dense.

    Args:
        dense: F (P, P).
        gradient: g (P,) in the arrays of the matrix.

    Attributes:
        effective_dimension: tr F (F + δI)⁻¹.
        residual: of the exact natural gradient: that of rounding.
    """

    def __init__(self, matrix: Operator, dense: np.ndarray, gradient: Array, damping: float) -> None:
        self._matrix, self._dense, self._damping, self._gradient = matrix, dense, damping, gradient
        n = dense.shape[0]
        self._damped = dense + damping * np.eye(n)
        self._norm = float(np.linalg.norm(dense))
        values = np.linalg.eigvalsh(dense) + damping
        self._is_definite = bool(values[0] > n * np.finfo(np.float64).eps * abs(values).max())
        self._logdet = float(np.sum(np.log(values))) if self._is_definite else 0.0
        self.effective_dimension = (
            Number.known(float(np.sum(1.0 - damping / values))) if self._is_definite else Number.missing("indefinite")
        )
        g = on_host(matrix, gradient)
        self._reason, self._step = "", None
        try:
            self._step = np.linalg.solve(self._damped, g)
        except np.linalg.LinAlgError:
            self._reason = "singular"
        size = float(np.linalg.norm(g))
        residual = 0.0 if self._step is None else float(np.linalg.norm(self._damped @ self._step - g))
        self.residual = residual / size if size else 0.0

    def measure(self, operator: Operator) -> Quality:
        """The metrics of one approximation."""
        dense = dense_of(operator)
        error = float(np.linalg.norm(self._dense - dense))
        x, reason = solved(operator, self._gradient, self._damping)
        cosine, step = directions(x, reason, self._step, self._reason, lambda v: self._damped @ v)
        if x is None or inverts(operator, self._gradient, x, self._damping):
            kl, dimension = self._of_matrix(dense)
        else:
            kl, dimension = self._of_solve(operator)
        relative = Number.known(error / self._norm) if self._norm else Number.missing("zero matrix")
        return Quality(relative, cosine, step, kl, dimension)

    def _of_matrix(self, dense: np.ndarray) -> tuple[Number, Number]:
        """(KL, effective dimension) of a dense A."""
        n = dense.shape[0]
        damped = dense + self._damping * np.eye(n)
        try:
            root = np.linalg.cholesky(damped)
            inverse = np.linalg.inv(damped)
        except np.linalg.LinAlgError:
            return Number.missing("indefinite"), Number.missing("indefinite")
        logdet = 2.0 * float(np.sum(np.log(np.diagonal(root))))
        return self._divergence(inverse, logdet), Number.known(n - self._damping * float(np.trace(inverse)))

    def _of_solve(self, operator: Operator) -> tuple[Number, Number]:
        """The same of an operator whose ``solve`` is a truncated inverse S: what stands for (A + δI)⁻¹ is S."""
        n = self._dense.shape[0]
        inverse, reason = solved(operator, operator._identity(n), self._damping)
        if inverse is None:
            return Number.missing(reason), Number.missing(reason)
        if np.max(np.abs(inverse - inverse.T)) > ROUNDING * np.max(np.abs(inverse)):
            return Number.missing("no matrix"), Number.missing("no matrix")
        inverse = (inverse + inverse.T) / 2
        try:
            logdet = -2.0 * float(np.sum(np.log(np.diagonal(np.linalg.cholesky(inverse)))))
        except np.linalg.LinAlgError:
            return Number.missing("indefinite"), Number.missing("indefinite")
        return self._divergence(inverse, logdet), Number.known(n - self._damping * float(np.trace(inverse)))

    def _divergence(self, inverse: np.ndarray, logdet: float) -> Number:
        """½ [tr((F + δI) S) - P - log det(F + δI) + log det S⁻¹], never negative but by rounding."""
        if not self._is_definite:
            return Number.missing("indefinite")
        value = 0.5 * (float(np.sum(self._damped * inverse)) - inverse.shape[0] - self._logdet + logdet)
        return Number.known(max(value, 0.0))
