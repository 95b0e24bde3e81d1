"""The inverse cut short: Neumann series and conjugate gradients."""

from __future__ import annotations

import curvature as cv


@cv.hookimpl
def curvature_register_approximations() -> list[cv.ApproximationSpec]:
    """The truncated Neumann series and truncated conjugate gradients."""
    return [
        cv.ApproximationSpec("neumann", loader="curvature_truncated.neumann:Neumann"),
        cv.ApproximationSpec("conjugate-gradients", loader="curvature_truncated.conjugate_gradients:ConjugateGradients"),
    ]
