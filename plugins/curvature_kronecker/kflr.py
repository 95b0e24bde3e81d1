"""Kronecker-factored low rank: K-FAC with an exact root of the loss's Hessian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import curvature as cv

from .kfac import KFAC, factored_moments


@dataclass(frozen=True)
class KFLR(KFAC):
    """K-FAC whose G is exact in the outputs: G = E_n[J_nᵀ S_n S_nᵀ J_n], S_n S_nᵀ the Hessian or Fisher in the outputs.

    S_n has a column for each output (hence "low rank"), each of which is pulled back to every layer; nothing is drawn at
    random. On such matrices, ``curvature.GGN`` and ``curvature.Fisher``, it is K-FAC; a Monte Carlo or an empirical Fisher
    is refused. Options are those of K-FAC.

    Source: Botev, Ritter and Barber (2017).
    """

    name: ClassVar[str] = "kflr"


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: KFLR, backend: cv.Backend) -> Any:
    """As for K-FAC, of an exact matrix.

    Raises:
        UnsupportedError: for a Monte Carlo or an empirical Fisher, or a matrix that is not known to be exact.
    """
    require_exact(matrix, method)
    return (yield factored_moments(matrix, method))


def require_exact(matrix: cv.GaussNewtonMatrix, method: cv.Approximation) -> None:
    """Refuse a matrix whose output factor is no root of the Hessian or Fisher in the outputs."""
    if not isinstance(matrix, (cv.GGN, cv.Fisher)):
        raise cv.UnsupportedError(
            f"{method.name!r} propagates an exact root of the Hessian or Fisher in the outputs, which a "
            f"{type(matrix).__name__} has not; take curvature.GGN(problem) or curvature.Fisher(problem), or approximate this "
            f"matrix with 'kfac'"
        )
