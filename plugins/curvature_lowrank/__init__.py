"""Low-rank approximations, and low rank plus diagonal."""

from __future__ import annotations

import curvature as cv


@cv.hookimpl
def curvature_register_approximations() -> list[cv.ApproximationSpec]:
    """None yet."""
    return []
