"""Functions of eigenvalues that all structured operators share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backend.values import has_values
from ..errors import NotPositiveDefiniteError, SingularMatrixError
from ..trees import count

Array = Any


def singular_threshold(xp: Any, largest: float, size: int, dtype: Any) -> float:
    """Eigenvalues below n · eps · λ_max cannot be told from zero."""
    return float(xp.finfo(dtype).eps) * size * abs(largest)


def powered(xp: Any, eigenvalues: Array, p: float, damping: Any, *, size: int | None = None) -> Array:
    """(λ + damping)^p for the eigenvalues of a symmetric operator.

    Rounding leaves zero eigenvalues of a semidefinite operator slightly negative; those within n · eps · λ_max of zero
    count as zero for a positive power.

    Args:
        size: n, where the error of the eigenvalues is not that of as many as there are.

    Raises:
        SingularMatrixError: if p < 0 and an eigenvalue is zero to rounding; names a damping that would do.
        NotPositiveDefiniteError: if p is not whole and an eigenvalue is negative.
    """
    shifted = eigenvalues + damping
    if count(eigenvalues) == 0:
        return shifted
    if has_values(shifted):
        _require_power(xp, shifted, p, size or count(shifted))
    return raised(xp, shifted, p)


def on_worst_rows(xp: Any, shifted: Array, check: Callable[[Array], Any]) -> None:
    """Run a check of eigenvalues, which raises, on those rows of (B, m) that are the first to fail it."""
    if count(shifted) == 0 or not has_values(shifted):
        return
    scale = xp.max(xp.abs(shifted), axis=1)
    scale = xp.where(scale > 0, scale, xp.ones_like(scale))
    for conditioned in (xp.min(shifted, axis=1) / scale, xp.min(xp.abs(shifted), axis=1) / scale):
        check(shifted[int(xp.argmin(conditioned)), :])


def powered_by_rows(xp: Any, eigenvalues: Array, p: float, damping: Any, *, size: int | None = None) -> Array:
    """(λ + damping)^p for eigenvalues (B, m): what counts as zero is relative to the largest of its own row."""
    shifted = eigenvalues + damping
    on_worst_rows(xp, shifted, lambda row: powered(xp, row, p, 0.0, size=size))
    return raised(xp, shifted, p)


def raised(xp: Any, shifted: Array, p: float) -> Array:
    """shifted^p; for a power that is not whole what is negative counts as zero."""
    if p == -1:
        return 1.0 / shifted
    if float(p).is_integer():
        return shifted ** int(p) if p >= 0 else (1.0 / shifted) ** int(-p)
    clipped = xp.where(shifted > 0, shifted, xp.zeros_like(shifted))
    return clipped ** float(p)


def _require_power(xp: Any, shifted: Array, p: float, size: int) -> None:
    largest = float(xp.max(xp.abs(shifted)))
    tiny = singular_threshold(xp, largest, size, shifted.dtype)
    # First, since the damping that makes an indefinite operator regular does not make it positive.
    lowest = float(xp.min(shifted))
    if not float(p).is_integer() and lowest < -tiny:
        raise NotPositiveDefiniteError(
            f"the power {p} needs a positive operator; its smallest eigenvalue is {lowest:.3g}; a damping above "
            f"{-lowest:.3g} more would do"
        )
    if p < 0:
        smallest = float(xp.min(xp.abs(shifted)))
        if smallest <= tiny:
            raise SingularMatrixError(
                f"the operator is singular to working precision (smallest |eigenvalue| {smallest:.3g}, largest "
                f"{largest:.3g}); a damping of {max(1e3 * tiny, 1e-30):.1g} or more would do"
            )


def log_determinant(xp: Any, eigenvalues: Array, damping: Any, *, size: int | None = None) -> Array:
    """Σ log(λ + damping). ``size`` as for ``powered``.

    Raises:
        SingularMatrixError, NotPositiveDefiniteError: where an eigenvalue is not positive.
    """
    shifted = eigenvalues + damping
    require_positive(xp, shifted, "logdet", size=size)
    return xp.sum(xp.log(shifted))


def require_positive(xp: Any, shifted: Array, what: str, *, size: int | None = None) -> None:
    """Raise unless all of the (damped) eigenvalues are positive to working precision."""
    if count(shifted) == 0 or not has_values(shifted):
        return
    smallest, largest = float(xp.min(shifted)), float(xp.max(xp.abs(shifted)))
    tiny = singular_threshold(xp, largest, size or count(shifted), shifted.dtype)
    if smallest < -tiny:
        raise NotPositiveDefiniteError(
            f"{what} needs a positive definite operator; the smallest eigenvalue is {smallest:.3g}; a damping above "
            f"{-smallest:.3g} more would do"
        )
    if smallest <= tiny:
        raise SingularMatrixError(
            f"{what} of an operator that is singular to working precision (smallest eigenvalue {smallest:.3g}, largest "
            f"{largest:.3g}); a damping of {max(1e3 * tiny, 1e-30):.1g} or more would do"
        )


def largest_in_magnitude(xp: Any, eigenvalues: Array, k: int) -> Array:
    """Positions of the k eigenvalues that are largest in magnitude, largest first."""
    return xp.argsort(xp.abs(eigenvalues), descending=True)[:k]
