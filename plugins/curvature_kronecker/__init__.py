"""Kronecker-factored approximations."""

from __future__ import annotations

import curvature as cv


@cv.hookimpl
def curvature_register_approximations() -> list[cv.ApproximationSpec]:
    """K-FAC."""
    return [cv.ApproximationSpec("kfac", loader="curvature_kronecker.method:KFAC", needs=("parameter_uses",))]
