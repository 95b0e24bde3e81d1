"""How good an approximation is: the five numbers, and what the exact and the estimated ones have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConvergenceError, NotPositiveDefiniteError, SingularMatrixError, UnsupportedError
from ..operators import Operator
from .dense import on_host
from .number import Number

Array = Any


@dataclass(frozen=True)
class Quality:
    """The metrics of ``Row`` that say how good an approximation is."""

    error: Number
    cosine: Number
    step_error: Number
    kl: Number
    effective_dimension: Number


def reason_of(error: Exception) -> str:
    """What a cell says where a computation is not possible."""
    if isinstance(error, SingularMatrixError):
        return "singular"
    if isinstance(error, NotPositiveDefiniteError):
        return "indefinite"
    if isinstance(error, ConvergenceError):
        return "not converged"
    return "unsupported"


REASONED = (NotPositiveDefiniteError, ConvergenceError, UnsupportedError)
"""Errors that become a cell's reason; NotPositiveDefiniteError is the base of SingularMatrixError."""


def solved(operator: Operator, rhs: Array, damping: float) -> tuple[np.ndarray | None, str]:
    """((A + δI)⁻¹ v, "") on the host for a matrix or a vector v, or (None, why not)."""
    try:
        return on_host(operator, operator.solve(rhs, damping)), ""
    except REASONED as error:
        return None, reason_of(error)


def inverts(operator: Operator, rhs: Array, solution: np.ndarray, damping: float) -> bool:
    """Whether a solution solves (A + δI) x = v, so that ``solve`` is the inverse of ``@``: of truncated ones it is not."""
    x = operator.backend.asarray(solution, dtype=_name(operator))
    residual = on_host(operator, operator @ x + damping * x - rhs)
    size = float(np.linalg.norm(on_host(operator, rhs)))
    eps = float(operator.xp.finfo(operator.dtype).eps)
    return bool(np.linalg.norm(residual) <= 100 * eps**0.5 * size)


def _name(operator: Operator) -> str:
    return f"float{operator.xp.finfo(operator.dtype).bits}"


def directions(
    x: np.ndarray | None, x_reason: str, exact: np.ndarray | None, exact_reason: str, product: Callable[[np.ndarray], np.ndarray]
) -> tuple[Number, Number]:
    """(cosine, relative error in the norm of F + δI) of a natural gradient x beside the exact one.

    Args:
        product: with F + δI.
    """
    if x is None or exact is None:
        missing = Number.missing(x_reason if x is None else exact_reason)
        return missing, missing
    sizes = float(np.linalg.norm(x) * np.linalg.norm(exact))
    if sizes == 0:
        missing = Number.missing("no gradient")
        return missing, missing
    cosine = Number.known(float(np.clip(x @ exact / sizes, -1.0, 1.0)))
    gap = x - exact
    squares = [float(v @ product(v)) for v in (gap, exact)]
    if squares[1] <= 0 or squares[0] < 0:
        return cosine, Number.missing("indefinite")
    return cosine, Number.known((squares[0] / squares[1]) ** 0.5)
