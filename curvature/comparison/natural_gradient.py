"""The error of an approximation's natural gradient."""

from __future__ import annotations

import warnings

import numpy as np

from ..approximation import Approximation, approximate
from ..errors import NotPositiveDefiniteError
from ..matrices import CurvatureMatrix
from .dense import on_host
from .number import Number
from .quality import directions, solved


class NaturalGradient:
    """x* with (M + δI) x* = ∇L of a matrix of a problem, and how far those of approximations are from it.

    Raises:
        NotPositiveDefiniteError: M + δI is not positive definite.
    """

    def __init__(self, matrix: CurvatureMatrix, damping: float) -> None:
        self._matrix, self._damping = matrix, float(damping)
        self._gradient = matrix.problem.space.ravel(matrix.xp, matrix.problem.gradient())
        exact, reason = solved(matrix, self._gradient, self._damping)
        if exact is None:
            raise NotPositiveDefiniteError(
                f"the matrix has no natural gradient at damping {damping:g} ({reason}); raise the damping, or leave it out to go "
                "by the error of the matrix itself"
            )
        self._exact = exact

    def _product(self, v: np.ndarray) -> np.ndarray:
        array = self._matrix.backend.asarray(v, dtype=self._matrix.dtype)
        return on_host(self._matrix, self._matrix @ array) + self._damping * v

    def error_of(self, method: Approximation) -> Number:
        """‖x - x*‖ / ‖x*‖ in the norm of M + δI, or why there is none."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            operator = approximate(self._matrix, method)
            found, reason = solved(operator, self._gradient, self._damping)
        return directions(found, reason, self._exact, "", self._product)[1]
