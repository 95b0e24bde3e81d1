"""The metrics from products and random probes, with 95 % confidence intervals: for models of any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..approximation.certify import certificate
from ..errors import ConvergenceError, NotPositiveDefiniteError, UnsupportedError
from ..linalg import conjugate_gradient, trace_of_function
from ..operators import Operator
from .dense import on_host
from .intervals import blurred, interval, mean_of
from .number import Number
from .quality import REASONED, Quality, directions, inverts, reason_of, solved

Array = Any

TOLERANCE = 0.02
"""Relative standard error of the log determinant and the effective dimension of the matrix that is aimed at."""
ITERATIONS = 1000
"""Most iterations of the exact natural gradient."""


class Estimated:
    """The matrix F, known by its products.

    All approximations are held against the same probes z, so that what is common to their errors does not blur their order.

    Args:
        gradient: g (P,).
        probes: number of z, vectors of random signs.
        seed: of the probes and of the examples that certificates draw.
        certify: options of ``curvature.certificate``.

    Attributes:
        effective_dimension: tr F (F + δI)⁻¹, by stochastic Lanczos quadrature.
        residual: ‖g - (F + δI) x‖ / ‖g‖ of the natural gradient x by conjugate gradients.
    """

    def __init__(
        self, matrix: Operator, gradient: Array, damping: float, *, probes: int, seed: int, certify: dict[str, Any]
    ) -> None:
        self._matrix, self._gradient, self._damping, self._seed = matrix, gradient, damping, seed
        self._certify = certify
        self._errors: dict[int, Number] = {}
        self._kept = matrix.for_repeated_products()
        n = matrix.shape[0]
        self._signs = matrix.backend.rng(seed).rademacher((n, probes), dtype=matrix.dtype)
        self._image = self._kept._matmat(self._signs)
        self._logdet = self._log_ratio(self._kept)
        self.effective_dimension = self._dimension()
        self._step: np.ndarray | None = None
        self._reason = "no solution"
        self.residual = 0.0

    # The matrix itself --------------------------------------------------------------------------------

    def _dimension(self) -> Number:
        xp, damping = self._matrix.xp, self._damping
        if self._logdet.value is None:
            return Number.missing(self._logdet.reason)
        # Rounding leaves zero eigenvalues slightly negative.
        found = trace_of_function(
            self._kept,
            lambda t: xp.where(t > 0, t, xp.zeros_like(t)) / (xp.abs(t) + damping),
            tolerance=TOLERANCE,
            seed=self._seed,
            progress=False,
        )
        return interval(found)

    def _log_ratio(self, operator: Operator) -> Number:
        """log det(I + A/δ), by stochastic Lanczos quadrature; the seed, and hence the probes, are the same for all."""
        xp, damping = operator.xp, self._damping

        def log(values: Array) -> Array:
            if bool(xp.any(values <= -damping)):
                raise NotPositiveDefiniteError("A + δI has a negative eigenvalue")
            return xp.log(1.0 + values / damping)

        try:
            found = trace_of_function(operator, log, tolerance=TOLERANCE, seed=self._seed, progress=False)
        except NotPositiveDefiniteError as error:
            return Number.missing(reason_of(error))
        return interval(found)

    def certified(self, operator: Operator) -> Number:
        """The relative error of one approximation; found once."""
        if id(operator) not in self._errors:
            found = certificate(operator, self._matrix, seed=self._seed, **self._certify)
            self._errors[id(operator)] = Number.estimated(found.relative_error, *found.interval)
        return self._errors[id(operator)]

    def solve(self, approximations: Iterable[Operator]) -> None:
        """The exact natural gradient, preconditioned by the approximation of least error that will do."""
        ranked = sorted(approximations, key=lambda a: _value(self._errors.get(id(a))))
        for near in [*ranked, None]:
            if near is None or self._is_preconditioner(near):
                try:
                    return self._solve(near)
                except NotPositiveDefiniteError as error:
                    self._reason = reason_of(error)
                except ConvergenceError as error:
                    self._reason = reason_of(error)

    def _is_preconditioner(self, near: Operator) -> bool:
        """Whether its ``solve`` is a linear map: the inverse of what it multiplies by."""
        x, _ = solved(near, self._gradient, self._damping)
        return x is not None and inverts(near, self._gradient, x, self._damping)

    def _solve(self, near: Operator | None) -> None:
        xp, damping = self._matrix.xp, self._damping
        tolerance = float(xp.finfo(self._matrix.dtype).eps) ** 0.5  # 1.5e-8 in float64, 3e-4 in float32
        precondition: Callable[[Array], Array] | None = None if near is None else (lambda r: near._solve(r, damping))
        found = conjugate_gradient(
            xp,
            self._kept._matmat,
            self._gradient[:, None],
            damping=damping,
            tolerance=tolerance,
            max_iterations=ITERATIONS,
            preconditioner=precondition,
            full=True,
        )
        self._step = on_host(self._matrix, found.solution[:, 0])
        self.residual = found.residual

    # An approximation ---------------------------------------------------------------------------------

    def measure(self, operator: Operator) -> Quality:
        """The metrics of one approximation."""
        error = self.certified(operator)
        x, reason = solved(operator, self._gradient, self._damping)
        cosine, step = self._directions(x, reason)
        kl, dimension = self._divergence(operator)
        return Quality(error, cosine, step, kl, dimension)

    def _directions(self, x: np.ndarray | None, reason: str) -> tuple[Number, Number]:
        matrix, damping = self._matrix, self._damping

        def product(v: np.ndarray) -> np.ndarray:
            column = matrix.backend.asarray(v[:, None], dtype=f"float{matrix.xp.finfo(matrix.dtype).bits}")
            return on_host(matrix, self._kept._matmat(column))[:, 0] + damping * v

        cosine, step = directions(x, reason, self._step, self._reason, product)
        return blurred(cosine, step, self._step, self.residual * _norm(matrix, self._gradient), damping, product)

    def _divergence(self, operator: Operator) -> tuple[Number, Number]:
        """(KL, effective dimension) of one approximation: closed forms where it has them, the common probes for the rest."""
        n, damping = operator.shape[0], self._damping
        try:
            solution = operator._solve(self._signs, damping)
        except REASONED as error:
            return Number.missing(reason_of(error)), Number.missing(reason_of(error))
        signs, image, solution = (on_host(operator, a) for a in (self._signs, self._image, solution))
        dimension, logdet = self._own_numbers(operator, n - damping * np.sum(signs * solution, axis=0))
        if self._logdet.value is None or logdet.value is None:
            return Number.missing(self._logdet.reason or logdet.reason), dimension
        # zᵀ (F + δI) S z - zᵀ z, whose mean is tr((F + δI) S) - P.
        trace = mean_of(np.sum((image + damping * signs) * solution, axis=0) - n)
        assert trace.value is not None
        # A divergence is never negative; its estimate may be.
        value = max(0.5 * (trace.value - self._logdet.value + logdet.value), 0.0)
        same = logdet is self._logdet
        halves = [trace.half_width] if same else [trace.half_width, self._logdet.half_width, logdet.half_width]
        half = 0.5 * math.hypot(*halves)
        return Number.estimated(value, max(value - half, 0.0), max(value + half, 0.0)), dimension

    def _own_numbers(self, operator: Operator, samples: np.ndarray) -> tuple[Number, Number]:
        """(effective dimension, log det(I + A/δ)) of an approximation."""
        if self._is_matrix(operator):
            return self.effective_dimension, self._logdet
        n, damping = operator.shape[0], self._damping
        try:
            inverse = operator.inverse(damping)
            if inverse.matrix_free or inverse.structure in ("sum", "product"):
                return mean_of(samples), self._log_ratio(operator)
            dimension = Number.known(n - damping * float(inverse.trace()))
            # Of A/δ rather than A: then small eigenvalues add little, and what adds much is not lost in P log δ.
            return dimension, Number.known(float(operator.scaled(1.0 / damping).logdet(1.0)))
        except (NotPositiveDefiniteError, UnsupportedError) as error:
            missing = Number.missing(reason_of(error))
            return missing, missing

    def _is_matrix(self, operator: Operator) -> bool:
        """Whether the approximation multiplies as the matrix itself does: only its inverse is another."""
        image = on_host(operator, operator._matmat(self._signs[:, :1]))
        expected = on_host(operator, self._image[:, :1])
        eps = float(operator.xp.finfo(operator.dtype).eps)
        return float(np.linalg.norm(image - expected)) <= 1e3 * eps * float(np.linalg.norm(expected))


def _value(number: Number | None) -> float:
    return math.inf if number is None or number.value is None else number.value


def _norm(matrix: Operator, v: Array) -> float:
    return float(np.linalg.norm(on_host(matrix, v)))
