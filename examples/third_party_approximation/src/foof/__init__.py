"""FOOF for curvature: gradient descent on neurons.

This module is imported whenever plugins are looked for, so it imports no array library and not the method itself.
"""

import curvature as cv


@cv.hookimpl
def curvature_register_approximations():
    return [cv.ApproximationSpec("foof", loader="foof.method:FOOF", needs=("parameter_uses",))]


@cv.hookimpl
def curvature_conformance_scenarios():
    """A model on which FOOF is exact: from now on the suite tests that, and any other approximation on this model too."""
    from .scenario import linear_regression

    return [linear_regression()]
