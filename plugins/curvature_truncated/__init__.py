"""The inverse cut short: Neumann series and conjugate gradients."""

from __future__ import annotations

import curvature as cv


@cv.hookimpl
def curvature_register_approximations() -> list[cv.ApproximationSpec]:
    """None yet."""
    return []
