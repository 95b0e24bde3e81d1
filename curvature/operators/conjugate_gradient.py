"""The method of conjugate gradients (Hestenes and Stiefel 1952)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import ConvergenceError, DataError, NotPositiveDefiniteError
from ..trees import count

Array = Any


def conjugate_gradient(
    xp: Any,
    product: Callable[[Array], Array],
    b: Array,
    *,
    damping: Any = 0.0,
    tolerance: float | None = None,
    max_iterations: int | None = None,
) -> Array:
    """Solve (A + damping·I) x = b for one column b (P, 1) and a positive definite A known by its products.

    Args:
        tolerance: stops where ‖b - (A + damping·I) x‖ ≤ tolerance · ‖b‖; by default eps^0.64: 1e-10 in float64.
        max_iterations: by default 10 P, at most 10,000.

    Raises:
        DataError: if the right-hand side or a product is not finite.
        NotPositiveDefiniteError: on meeting a direction of curvature ≤ 0, naming the curvature.
        ConvergenceError: naming the residual reached.
    """
    size = float(xp.max(xp.abs(b))) if count(b) else 0.0
    if not size < float("inf"):
        raise DataError("the right-hand side holds NaN or infinite entries")
    if size == 0:
        return b
    b = b / size  # squares of very large or small entries would overflow or vanish
    tolerance = float(xp.finfo(b.dtype).eps) ** 0.64 if tolerance is None else tolerance
    max_iterations = min(10 * int(b.shape[0]), 10_000) if max_iterations is None else max_iterations
    x, residual = xp.zeros_like(b), b
    rr = float(xp.sum(residual * residual))
    target = tolerance**2 * rr
    direction, iteration = residual, 0
    while rr > target:
        if iteration == max_iterations:
            reached = (rr / (target / tolerance**2)) ** 0.5
            raise ConvergenceError(
                f"conjugate gradients reached a relative residual of {reached:.2g} in {iteration} iterations, not "
                f"{tolerance:.2g}; a larger damping makes the problem better conditioned"
            )
        image = product(direction) + damping * direction
        curvature = float(xp.sum(direction * image))
        norm = float(xp.sum(direction * direction))
        if not math.isfinite(curvature):
            raise DataError("a product of the operator with a vector is NaN or infinite: look at the parameters and data")
        if curvature <= 0:
            raise NotPositiveDefiniteError(
                f"conjugate gradients met a direction of curvature {curvature / norm:.3g}: the operator is not positive "
                f"definite; a larger damping would do, or solve with curvature.operators.Dense(A.to_dense())"
            )
        step = rr / curvature
        x = x + step * direction
        residual = residual - step * image
        rr, previous = float(xp.sum(residual * residual)), rr
        direction = residual + (rr / previous) * direction
        iteration += 1
    return x * size
