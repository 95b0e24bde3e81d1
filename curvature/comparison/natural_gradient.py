"""The error of an approximation's natural gradient."""

from __future__ import annotations

import warnings

import numpy as np

from ..approximation import Approximation, approximate
from ..errors import ConvergenceError, DataError, NotPositiveDefiniteError
from ..matrices import CurvatureMatrix
from .dense import on_host
from .number import Number
from .quality import solved

REFINEMENTS = 3
"""How often the exact natural gradient is corrected by a solve with its residual."""


class NaturalGradient:
    """x* with (M + δI) x* = ∇L of a matrix of a problem, and how far those of approximations are from it.

    Attributes:
        resolution: how well x* itself is known, ‖last correction‖ / ‖x*‖ in the norm of M + δI. Errors below it are none.

    Raises:
        DataError: the gradient is zero.
        NotPositiveDefiniteError: M + δI is not positive definite.
        ConvergenceError: x* is not found.
    """

    def __init__(self, matrix: CurvatureMatrix, damping: float) -> None:
        self._kept, self._matrix, self._damping = matrix.for_repeated_products(), matrix, float(damping)
        self._gradient = matrix.problem.space.ravel(matrix.xp, matrix.problem.gradient())
        target = on_host(matrix, self._gradient)
        if not np.any(target):
            raise DataError("the gradient is zero at these parameters, so that all natural gradients are: leave the damping out")
        eps = float(matrix.xp.finfo(matrix.dtype).eps)
        floor = 100 * eps
        self._exact, self.resolution = self._solved(target), 1.0
        product = self._positive_product(self._exact)
        for _ in range(REFINEMENTS):
            # Iterations stop at a tolerance, and what they leave would make them the measure of all else.
            try:
                correction = self._solved(target - product)
            except ConvergenceError:  # the residual is rounding, which is no gradient
                self.resolution = min(self.resolution, eps**0.5)
                break
            self._exact = self._exact + correction
            product = self._positive_product(self._exact)
            self.resolution = max((max(self._squared(correction), 0.0) / self._size) ** 0.5, floor)
            if self.resolution == floor:
                break

    def _solved(self, v: np.ndarray) -> np.ndarray:
        try:
            return on_host(self._matrix, self._kept.solve(self._array(v), damping=self._damping))
        except NotPositiveDefiniteError as error:
            raise self._refusal(str(error)) from error

    def _refusal(self, why: str) -> NotPositiveDefiniteError:
        return NotPositiveDefiniteError(
            f"the matrix has no natural gradient at damping {self._damping:g} ({why}); raise the damping, or leave it out to go "
            "by the error of the matrix itself"
        )

    def _array(self, v: np.ndarray) -> object:
        return self._matrix.backend.asarray(v, dtype=self._matrix.dtype)

    def _product(self, v: np.ndarray) -> np.ndarray:
        return on_host(self._matrix, self._kept @ self._array(v)) + self._damping * v

    def _positive_product(self, exact: np.ndarray) -> np.ndarray:
        """(M + δI) x*; its product with x* is the square of the size by which errors are measured."""
        product = self._product(exact)
        self._size = float(exact @ product)
        if not self._size > 0:
            raise self._refusal("indefinite")
        return product

    def _squared(self, v: np.ndarray) -> float:
        return float(v @ self._product(v))

    def error_of(self, method: Approximation) -> Number:
        """‖x - x*‖ / ‖x*‖ in the norm of M + δI, or why there is none."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            operator = approximate(self._matrix, method)
            found, reason = solved(operator, self._gradient, self._damping)
        if found is None:
            return Number.missing(reason)
        square = self._squared(found - self._exact) / self._size
        if abs(square) <= self.resolution**2:
            return Number.known(0.0)
        return Number.known(square**0.5) if square > 0 else Number.missing("indefinite")
