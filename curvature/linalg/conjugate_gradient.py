"""The method of conjugate gradients (Hestenes and Stiefel 1952), for several right-hand sides at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, overload

from ..errors import ConvergenceError, DataError, NotPositiveDefiniteError
from ..trees import count
from .open_columns import OpenColumns, select
from .quadratic_progress import QuadraticProgress

Array = Any
Map = Callable[[Array], Array]


@dataclass(frozen=True)
class Solution:
    """What conjugate gradients came to.

    Attributes:
        solution: (P, K).
        iterations: those of the column that took most.
        residual: the largest relative residual ‖b - (A + damping·I) x‖ / ‖b‖ of a column.
        stopped_by: why the last column stopped: "tolerance", "progress" (the rule of ``quadratic_progress``), "stop" (the
            callback) or "max_iterations".
    """

    solution: Array
    iterations: int
    residual: float
    stopped_by: str


@overload
def conjugate_gradient(
    xp: Any,
    product: Map,
    b: Array,
    *,
    damping: Any = ...,
    tolerance: float | None = ...,
    max_iterations: int | None = ...,
    preconditioner: Map | None = ...,
    x0: Array | None = ...,
    stop: Callable[[int, Array], bool] | None = ...,
    quadratic_progress: bool = ...,
    full: Literal[False] = ...,
) -> Array: ...


@overload
def conjugate_gradient(
    xp: Any,
    product: Map,
    b: Array,
    *,
    damping: Any = ...,
    tolerance: float | None = ...,
    max_iterations: int | None = ...,
    preconditioner: Map | None = ...,
    x0: Array | None = ...,
    stop: Callable[[int, Array], bool] | None = ...,
    quadratic_progress: bool = ...,
    full: Literal[True],
) -> Solution: ...


def conjugate_gradient(
    xp: Any,
    product: Map,
    b: Array,
    *,
    damping: Any = 0.0,
    tolerance: float | None = None,
    max_iterations: int | None = None,
    preconditioner: Map | None = None,
    x0: Array | None = None,
    stop: Callable[[int, Array], bool] | None = None,
    quadratic_progress: bool = False,
    full: bool = False,
) -> Array | Solution:
    """Solve (A + damping·I) x = b for columns b (P, K) and a positive definite A known by its products.

    Each column has an iteration of its own; a product with a matrix serves all of those that have not stopped yet.

    Args:
        product: V ↦ A V for matrices (P, K').
        tolerance: a column stops where ‖b - (A + damping·I) x‖ ≤ tolerance · ‖b‖; by default eps^0.64: 1e-10 in float64.
        max_iterations: by default 10 P, at most 10,000.
        preconditioner: R ↦ M⁻¹ R for matrices (P, K'), M positive definite and near A + damping·I.
        x0: where to start (P, K); by default at 0.
        stop: a function of the number of iterations and the solution so far (P, K), which ends all of it by being true.
        quadratic_progress: a column stops too where φ(x) = ½ xᵀ(A + damping·I) x - bᵀx hardly falls any more: after i > k
            iterations with φ_i < 0 and (φ_i - φ_{i-k}) / φ_i < 5e-4 k, k = max(10, 0.1 i) (Martens 2010).
        full: return a ``Solution`` rather than the array; then to reach ``max_iterations`` is no error.

    Raises:
        DataError: if the right-hand side, the start or a product is not finite.
        NotPositiveDefiniteError: on meeting a direction of curvature ≤ 0, naming the curvature; or one on which the
            preconditioner is not positive.
        ConvergenceError: naming the residual reached.
    """
    sizes = xp.max(xp.abs(b), axis=0) if count(b) else xp.zeros((b.shape[1],), dtype=b.dtype)
    if not bool(xp.all(xp.isfinite(sizes))):
        raise DataError("the right-hand side holds NaN or infinite entries")
    if x0 is not None and not bool(xp.all(xp.isfinite(x0))):
        raise DataError("the start x0 holds NaN or infinite entries")
    if tolerance is None:
        tolerance = float(xp.finfo(b.dtype).eps) ** 0.64
    if max_iterations is None:
        max_iterations = min(10 * int(b.shape[0]), 10_000)
    columns = OpenColumns(xp, b, sizes)
    iteration, worst = 0, 0.0
    if columns.width == 0:
        return _returned(columns.solution(), 0, 0.0, "tolerance", full)

    def damped(v: Array) -> Array:
        return product(v) + damping * v

    scaled = columns.of(b) / columns.sizes  # squares of very large or small entries would overflow or vanish
    bb = _dots(xp, scaled, scaled)
    if x0 is None:
        x, residual = xp.zeros_like(scaled), scaled
    else:
        x = columns.of(x0) / columns.sizes
        residual = scaled - damped(x)
        _require_finite(xp, residual)
    rule = QuadraticProgress(xp) if quadratic_progress else None
    direction: Array = None
    rz: Array = None
    while True:
        relative = xp.sqrt(_dots(xp, residual, residual) / bb)
        finished, reason = relative <= tolerance, "tolerance"
        if rule is not None:
            met, finished = finished, xp.logical_or(finished, rule.stops(iteration, -0.5 * _dots(xp, x, scaled + residual)))
            reason = "tolerance" if bool(xp.all(finished == met)) else "progress"
        if not bool(xp.all(finished)):
            if stop is not None and iteration > 0 and stop(iteration, columns.solution(x)):
                finished, reason = xp.ones_like(finished), "stop"
            elif iteration == max_iterations:
                finished, reason = xp.ones_like(finished), "max_iterations"
        if bool(xp.any(finished)):
            worst = max(worst, float(xp.max(xp.where(finished, relative, xp.zeros_like(relative)))))
            if reason == "max_iterations" and not full:
                raise ConvergenceError(
                    f"conjugate gradients reached a relative residual of {worst:.2g} in {iteration} iterations, not "
                    f"{tolerance:.2g}; a larger damping makes the problem better conditioned"
                )
            others = columns.close(finished, x)
            if columns.width == 0:
                return _returned(columns.solution(), iteration, worst, reason, full)
            scaled, x, residual, bb = (select(xp, array, others) for array in (scaled, x, residual, bb))
            if direction is not None:
                direction, rz = select(xp, direction, others), select(xp, rz, others)
            if rule is not None:
                rule.keep(others)
        z = residual if preconditioner is None else preconditioner(residual)
        previous, rz = rz, _dots(xp, residual, z)
        if preconditioner is not None:
            _require_positive_preconditioner(xp, rz)
        direction = z if direction is None else z + (rz / previous)[None, :] * direction
        image = damped(direction)
        curvature = _dots(xp, direction, image)
        _require_curvature(xp, curvature, direction)
        step = (rz / curvature)[None, :]
        x, residual = x + step * direction, residual - step * image
        iteration += 1


def _returned(x: Array, iterations: int, residual: float, reason: str, full: bool) -> Array | Solution:
    return Solution(x, iterations, residual, reason) if full else x


def _dots(xp: Any, a: Array, b: Array) -> Array:
    return xp.sum(a * b, axis=0)


def _require_finite(xp: Any, image: Array) -> None:
    if not math.isfinite(float(xp.sum(image * image))):
        raise DataError("a product of the operator with a vector is NaN or infinite: look at the parameters and data")


def _require_curvature(xp: Any, curvature: Array, direction: Array) -> None:
    if not bool(xp.all(xp.isfinite(curvature))):
        raise DataError("a product of the operator with a vector is NaN or infinite: look at the parameters and data")
    if bool(xp.any(curvature <= 0)):
        lowest = float(xp.min(curvature / _dots(xp, direction, direction)))
        raise NotPositiveDefiniteError(
            f"conjugate gradients met a direction of curvature {lowest:.3g}: the operator is not positive "
            f"definite; a larger damping would do, or solve with curvature.operators.Dense(A.to_dense())"
        )


def _require_positive_preconditioner(xp: Any, rz: Array) -> None:
    if not bool(xp.all(xp.isfinite(rz))):
        raise DataError("the preconditioner gave NaN or infinite entries")
    if bool(xp.any(rz <= 0)):
        raise NotPositiveDefiniteError(
            "the preconditioner of conjugate gradients is not positive definite: rᵀM⁻¹r ≤ 0 for a residual r"
        )
