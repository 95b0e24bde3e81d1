"""The diagonal of a curvature matrix."""

from __future__ import annotations

import curvature as cv


@cv.hookimpl
def curvature_register_approximations() -> list[cv.ApproximationSpec]:
    """The diagonal."""
    return [cv.ApproximationSpec("diagonal", loader="curvature_diagonal.method:DiagonalMethod")]
