"""FOOF for curvature: gradient descent on neurons.

This module is imported whenever plugins are looked for, so it imports no array library and not the method itself.
"""

import curvature as cv


@cv.hookimpl
def curvature_register_approximations():
    return [cv.ApproximationSpec("foof", loader="foof.method:FOOF", needs=("parameter_uses",))]


@cv.hookimpl
def curvature_conformance_theorems(subject):
    """What is proven about FOOF on models that the suite has: from now on it tests that as well."""
    from curvature_conformance import Exact

    source = "one variance for all responses and examples: E[g gᵀ] = I / σ²"
    return [Exact("foof", ("fisher", "ggn"), "matrix", source, scenarios="linear-regression/*")] if subject == "foof" else []


@cv.hookimpl
def curvature_conformance_scenarios(subject):
    """A model of one's own, for the tests of FOOF alone."""
    from .scenario import linear_regression

    return [linear_regression()] if subject == "foof" else []
