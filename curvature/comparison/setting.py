"""What a comparison is done with: the gradient, the damping, and what the matrix is called."""

from __future__ import annotations

from typing import Any

from ..approximation.sweeps import Sweep
from ..errors import DataError
from ..linalg import frobenius_norm
from ..matrices import GaussNewtonMatrix
from ..operators import Operator

Array = Any
Tree = Any

SHARE = 1e-2
"""The default damping is this share of the mean eigenvalue."""


def gradient_of(matrix: Operator, gradient: Any) -> Array:
    """g as a vector (P,) of the matrix's own arrays."""
    problem = getattr(matrix, "problem", None)
    if gradient is None:
        if problem is None:
            raise DataError(
                f"a {type(matrix).__name__} belongs to no problem, so there is no gradient whose natural gradients could be "
                f"compared; give one, gradient=(P,)"
            )
        gradient = problem.gradient()
    found: list[Array] = []
    matrix._on(gradient, lambda column: found.append(column) or column, rows=matrix.shape[0])  # type: ignore[func-returns-value]
    return found[0][:, 0]


def default_damping(matrix: Operator, dense: Any = None) -> tuple[float, str]:
    """(δ, where it comes from) where nobody gives one."""
    n = matrix.shape[0]
    if isinstance(matrix, GaussNewtonMatrix):
        scale, name = (_trace(matrix) if dense is None else float(dense.trace())) / n, "the mean eigenvalue tr F / P"
    else:
        norm = float(frobenius_norm(matrix, progress=False).value) if dense is None else float((dense**2).sum()) ** 0.5
        scale, name = norm / n**0.5, "the root mean square eigenvalue ‖F‖ / √P"
    if not scale > 0:
        raise DataError("the matrix is zero, so it sets no scale for the damping; give damping=")
    return SHARE * scale, f"{SHARE:g} × {name}"


def _trace(matrix: GaussNewtonMatrix) -> float:
    """Σ of the squared gradients: exact, by one pass over the data."""
    with Sweep(matrix) as sweep:
        squares: Tree = sweep.averages([matrix.squared_gradients])[0]
    return sum(float(matrix.xp.sum(part)) for part in squares.values())


def describe(matrix: Operator) -> str:
    """What is approximated, in words."""
    name = type(matrix).__name__
    samples = getattr(matrix, "samples", None)
    return name if samples is None else f"{name}(samples={samples})"
