"""Approximations by blocks, up to the one block that is the whole matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import curvature as cv

if TYPE_CHECKING:
    from .report import CouplingReport


@cv.hookimpl
def curvature_register_approximations() -> list[cv.ApproximationSpec]:
    """The whole matrix, and its diagonal blocks, dense."""
    return [
        cv.ApproximationSpec("exact", loader="curvature_block.method:Exact"),
        cv.ApproximationSpec("block-diagonal", loader="curvature_block.method:BlockDiagonalMethod"),
    ]


def coupling(matrix: cv.Operator, *, partition: Any = None, probes: int = 10, seed: int = 0) -> CouplingReport:
    """How large the blocks F_ij of a symmetric matrix are off its diagonal: see ``curvature_block.measure.coupling``."""
    from .measure import coupling as measured

    return measured(matrix, partition=partition, probes=probes, seed=seed)
