"""Low-rank approximations: a few eigenpairs, alone or with a diagonal for all that they leave."""

from __future__ import annotations

import curvature as cv


@cv.hookimpl
def curvature_register_approximations() -> list[cv.ApproximationSpec]:
    """Low rank, and low rank plus diagonal."""
    return [
        cv.ApproximationSpec("low-rank", loader="curvature_lowrank.method:LowRankMethod"),
        cv.ApproximationSpec("low-rank-plus-diagonal", loader="curvature_lowrank.method:LowRankPlusDiagonalMethod"),
    ]
