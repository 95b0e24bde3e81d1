"""Truncated conjugate gradients in the place of the inverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import curvature as cv
from curvature.linalg import conjugate_gradient
from curvature.operators import Operator

from .costs import conjugate_gradients_cost
from .operator import Truncated
from .preconditioning import TruncatedMethod, kept

Array = Any
Product = Callable[[Array], Array]


@dataclass(frozen=True)
class ConjugateGradients(TruncatedMethod):
    """(F + λI)⁻¹ v by at most ``iterations`` steps of conjugate gradients in ``solve``; products are the matrix's own.

    After K steps from zero the solution minimises φ(x) = ½ xᵀ(F + λI) x - vᵀx over a Krylov space of K dimensions, and is a
    direction of descent of every function with the gradient -v. It depends on v not linearly, but to the tolerance.

    Attributes:
        iterations: at which it stops, wherever it is; None goes on to the tolerance, and not to reach it is an error.
        tolerance: it stops where ‖v - (F + λI) x‖ ≤ tolerance · ‖v‖; by default 1e-10 in float64 and 1e-5 in float32 (eps^0.64).
        stop: "residual", or "progress": also where the quadratic model φ hardly falls any more, after i > k iterations with
            φ_i < 0 and (φ_i - φ_{i-k}) / φ_i < 5e-4 k, k = max(10, 0.1 i) (Martens 2010).
        preconditioner: an approximation (or its name) of the same matrix; residuals are multiplied by (preconditioner + λI)⁻¹.
        decay: ``solve_from(v, initial)`` starts from decay · initial: the solution of an earlier, similar system.
        on_negative_curvature: "raise", or "stop": the solution is the last one before a direction of curvature ≤ 0 was met
            (Steihaug 1983; at the very first direction that direction itself, of steepest descent).

    Raises (of ``solve``):
        ConvergenceError: without ``iterations``, if the tolerance is not reached.
        NotPositiveDefiniteError: on a direction of curvature ≤ 0, or if the preconditioner is not positive.

    Sources: Hestenes and Stiefel (1952); Martens (2010), "Deep learning via Hessian-free optimization".
    """

    name: ClassVar[str] = "conjugate-gradients"
    iterations: int | None = None
    tolerance: float | None = None
    stop: Literal["residual", "progress"] = "residual"
    preconditioner: Any = None
    decay: float = 0.95
    on_negative_curvature: Literal["raise", "stop"] = "raise"

    def __post_init__(self) -> None:
        count = self.iterations
        if count is not None and not (isinstance(count, int) and not isinstance(count, bool) and count >= 1):
            raise cv.DataError(f"conjugate-gradients: iterations is a positive integer or None, got {count!r}")
        if self.tolerance is not None and not (_is_number(self.tolerance) and 0 <= self.tolerance < 1):
            raise cv.DataError(f"conjugate-gradients: tolerance lies in [0, 1), got {self.tolerance!r}")
        if self.tolerance == 0 and count is None:
            raise cv.DataError("conjugate-gradients: a tolerance of 0 is never reached; give the number of iterations beside it")
        if self.stop not in ("residual", "progress"):
            raise cv.DataError(f"conjugate-gradients: stop is 'residual' or 'progress', got {self.stop!r}")
        if not (_is_number(self.decay) and 0 <= self.decay <= 1):
            raise cv.DataError(f"conjugate-gradients: decay lies in [0, 1], got {self.decay!r}")
        if self.on_negative_curvature not in ("raise", "stop"):
            raise cv.DataError(
                f"conjugate-gradients: on_negative_curvature is 'raise' or 'stop', got {self.on_negative_curvature!r}"
            )
        self.chosen()

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return conjugate_gradients_cost(self, layout)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@cv.build.dispatch
def build(method: ConjugateGradients, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """The matrix with conjugate gradients in the place of its inverse."""
    return TruncatedConjugateGradients(*kept(method, statistics, structure), method)


class TruncatedConjugateGradients(Truncated):
    """A matrix with truncated conjugate gradients in the place of its inverse: see ``ConjugateGradients``.

    Args:
        matrix: A, any symmetric operator.
        near: an approximation of A whose inverse is cheap, or None; residuals are multiplied by (near + damping·I)⁻¹.
        method: the options; its own ``preconditioner`` is not looked at.
    """

    def __init__(self, matrix: Operator, near: Operator | None = None, method: ConjugateGradients | None = None) -> None:
        super().__init__(matrix, near)
        self.method = ConjugateGradients() if method is None else method

    def _with(self, matrix: Operator, near: Operator | None) -> TruncatedConjugateGradients:
        return TruncatedConjugateGradients(matrix, near, self.method)

    def _truncated(self, v: Array, damping: Any, initial: Array | None) -> Array:
        if self.backend.is_abstract(v):
            raise cv.UnsupportedError(
                "conjugate gradients stop by values, which are not there inside a program that is being compiled; solve "
                "outside of it, or take 'neumann' with an order and a scale that are numbers"
            )
        matrix, p = self.matrix.for_repeated_products(), self._preconditioning(damping)
        precondition = None if p is None else p._matmat
        start = None if initial is None or self.method.decay == 0 else self.method.decay * initial
        if self.method.on_negative_curvature == "raise":
            return self._solution(matrix._matmat, precondition, v, damping, start)
        # Each column meets curvatures of its own.
        parts = [slice(j, j + 1) for j in range(v.shape[1])]
        starts = [None if start is None else start[:, part] for part in parts]
        columns = [
            self._until_negative(matrix._matmat, precondition, v[:, part], damping, begin)
            for part, begin in zip(parts, starts, strict=True)
        ]
        return self.xp.concat(columns, axis=1) if columns else v

    def _solution(
        self,
        product: Product,
        precondition: Product | None,
        v: Array,
        damping: Any,
        start: Array | None,
        watch: Callable[[int, Array], bool] | None = None,
    ) -> Array:
        method = self.method
        options: dict[str, Any] = {
            "damping": damping,
            "tolerance": method.tolerance,
            "max_iterations": method.iterations,
            "preconditioner": precondition,
            "x0": start,
            "stop": watch,
            "quadratic_progress": method.stop == "progress",
        }
        if method.iterations is None:
            return conjugate_gradient(self.xp, product, v, **options)
        return conjugate_gradient(self.xp, product, v, **options, full=True).solution

    def _until_negative(
        self, product: Product, precondition: Product | None, v: Array, damping: Any, start: Array | None
    ) -> Array:
        """The last iterate before a direction of curvature ≤ 0."""
        xp, reached = self.xp, [start]

        def watched(direction: Array) -> Array:
            image = product(direction)
            if float(xp.sum(direction * (image + damping * direction))) <= 0:
                raise _NegativeCurvatureError
            return image

        def watch(iteration: int, x: Array) -> bool:
            reached[0] = x
            return False

        try:
            return self._solution(watched, precondition, v, damping, start, watch)
        except _NegativeCurvatureError:
            if reached[0] is not None:
                return reached[0]
            return v if precondition is None else precondition(v)


class _NegativeCurvatureError(Exception):
    """A direction of curvature ≤ 0 was met."""
