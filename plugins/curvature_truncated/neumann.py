"""The truncated Neumann series of the inverse."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import curvature as cv
from curvature.operators import Operator, check_damping
from curvature.trees import count

from .neumann_method import Neumann
from .operator import Truncated
from .preconditioning import kept
from .progress import Goal
from .scales import Scales
from .series import Series
from .spectrum import Extremes, extremes

__all__ = ["Neumann", "NeumannSeries"]

Array = Any


@cv.build.dispatch
def build(method: Neumann, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """The matrix with the series in the place of its inverse."""
    return NeumannSeries(*kept(method, statistics, structure), method)


class NeumannSeries(Truncated):
    """A matrix with the truncated Neumann series of its inverse: see ``Neumann``.

    Args:
        matrix: A, any symmetric operator.
        near: an approximation of A whose inverse is cheap, or None; P = (near + damping·I)⁻¹.
        method: the options; its own ``preconditioner`` is not looked at.
    """

    def __init__(self, matrix: Operator, near: Operator | None = None, method: Neumann | None = None) -> None:
        super().__init__(matrix, near)
        self.method = Neumann() if method is None else method
        self._measured: tuple[Any, Extremes] | None = None

    def _with(self, matrix: Operator, near: Operator | None) -> NeumannSeries:
        return NeumannSeries(matrix, near, self.method)

    def scaled(self, factor: Any) -> Operator:
        scaled = super().scaled(factor)
        scale = self.method.scale
        if isinstance(scale, str) or self.near is not None or not factor > 0:
            return scaled
        assert isinstance(scaled, NeumannSeries)
        return NeumannSeries(scaled.matrix, None, replace(self.method, scale=scale / float(factor)))

    def scale(self, damping: Any = 0.0) -> float:
        """a, the scale of the series for A + damping·I, from the eigenvalues that were measured.

        Raises:
            ConvergenceError, NotPositiveDefiniteError: as ``solve`` does, where no series converges with the scale asked for.
        """
        damping = check_damping(damping)
        return self._scales(
            self._extremes(self.matrix.for_repeated_products(), self._preconditioning(damping), damping), damping
        ).choose()

    def _truncated(self, v: Array, damping: Any, initial: Array | None) -> Array:
        xp = self.xp
        matrix, preconditioning = self.matrix.for_repeated_products(), self._preconditioning(damping)

        def product(x: Array) -> Array:
            return matrix._matmat(x) + damping * x

        precondition = None if preconditioning is None else preconditioning._matmat
        if self.backend.is_abstract(v):
            return self._unseen(v, Series(xp, product, precondition, self._given_scale(), self._made_dense), initial)
        size = float(xp.max(xp.abs(v))) if count(v) else 0.0
        if not size < math.inf:
            raise cv.DataError("the right-hand side holds NaN or infinite entries")
        if size == 0:
            return v
        scales = self._scales(self._extremes(matrix, preconditioning, damping), damping)
        series = Series(xp, product, precondition, scales.choose(), self._made_dense)
        # In units of its size: squares of very large or small entries would overflow or vanish.
        b = v / size
        if initial is not None:
            r = b - product(initial / size)
            return initial + size * self._sum(series, r, b, scales)
        return size * self._sum(series, b, b, scales)

    def _sum(self, series: Series, r: Array, b: Array, scales: Scales) -> Array:
        """S_K r; the tolerance is relative to b."""
        method, xp = self.method, self.xp
        squares = xp.sum(b * series.apply(b), axis=0)
        weights = xp.where(squares > 0, 1.0 / xp.where(squares > 0, squares, xp.ones_like(squares)), xp.zeros_like(squares))
        if method.order != "auto":
            x, left = series.terms(r, int(method.order))
            growth = series.energy(left, weights) / max(series.energy(r, weights), scales.eps)
            if growth > 1.05:
                raise scales.grown(int(method.order), growth**0.5, series.scale)
            return x
        tolerance = scales.eps**0.64 if method.tolerance is None else method.tolerance
        found, damping = scales.found, scales.damping
        lowest = max(found.smallest, scales.eps * found.bound)
        if self.near is None and damping > 0:
            lowest = min(lowest, damping)
        goal = Goal(tolerance, series.scale, found.bound, lowest, floor=(30 * scales.eps) ** 2)
        x, progress = series.until(r, weights, goal, method.max_order)
        if not progress.reached:
            raise scales.not_reached(progress)
        return x

    def _unseen(self, v: Array, series: Series, initial: Array | None) -> Array:
        """Inside a program that is being compiled nothing can depend on values."""
        order = self.method.order
        assert isinstance(order, int)
        if initial is None:
            return series.terms(v, order)[0]
        return initial + series.terms(v - series.product(initial), order)[0]

    def _given_scale(self) -> float:
        if isinstance(self.method.scale, str) or self.method.order == "auto":
            raise cv.UnsupportedError(
                "inside a program that is being compiled a Neumann series needs an order and a scale that are numbers: "
                "neither can be chosen by values that are not there yet"
            )
        return self.method.scale

    def _scales(self, found: Extremes, damping: float) -> Scales:
        return Scales(self.method, found, damping, self.near is not None, float(self.xp.finfo(self.dtype).eps))

    def _extremes(self, matrix: Operator, preconditioning: Operator | None, damping: float) -> Extremes:
        """The ends of the spectrum of P (A + damping·I); the last that were measured are kept."""
        key = None if preconditioning is None else damping
        if self._measured is None or self._measured[0] != key:
            start = self.backend.rng(0).normal((self.shape[0], 1), dtype=self.dtype)
            if preconditioning is None:
                found = extremes(self.xp, matrix._matmat, None, start)
            else:
                found = extremes(self.xp, lambda x: matrix._matmat(x) + damping * x, preconditioning._matmat, start)
            self._measured = (key, found)
        found = self._measured[1]
        return found.shifted(damping) if preconditioning is None else found

    def _made_dense(self) -> Array:
        """The identity, whose product is the dense matrix."""
        if self.matrix.matrix_free:
            n = self.shape[0]
            warnings.warn(
                f"a Neumann series that has taken {n} products or more continues with the dense {n} × {n} matrix",
                cv.DensifiedWarning,
                stacklevel=2,
            )
        return self._identity(self.shape[0])
