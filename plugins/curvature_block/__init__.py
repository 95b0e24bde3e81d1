"""Approximations by blocks, up to the one block that is the whole matrix."""

from __future__ import annotations

import curvature as cv


@cv.hookimpl
def curvature_register_approximations() -> list[cv.ApproximationSpec]:
    """The whole matrix, dense."""
    return [cv.ApproximationSpec("exact", loader="curvature_block.method:Exact")]
