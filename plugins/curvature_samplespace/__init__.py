"""The side of the examples: the Gram matrix of the gradients in place of the Fisher.

``curvature_samplespace.minsr`` and ``curvature_samplespace.spring`` hold the solvers of that side.
"""

from __future__ import annotations

import curvature as cv


@cv.hookimpl
def curvature_register_approximations() -> list[cv.ApproximationSpec]:
    """The matrix itself, solved on the side of the examples."""
    return [cv.ApproximationSpec("sample-space", loader="curvature_samplespace.method:SampleSpace")]
