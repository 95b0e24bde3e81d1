"""Classical methods of SciPy with compiled values, gradients and Jacobians; none of their own tolerances stops them early."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import scipy.optimize

MANY = 10**9


def lbfgs(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """L-BFGS-B without bounds."""
    options = {"maxcor": settings["history"], "ftol": 0.0, "gtol": 0.0, "maxiter": MANY, "maxfun": MANY}
    _minimise(problem, "L-BFGS-B", options, trace)


def bfgs(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """BFGS."""
    _minimise(problem, "BFGS", {"gtol": 0.0, "maxiter": MANY}, trace)


def _minimise(problem: Any, method: str, options: dict[str, Any], trace: Any) -> None:
    compiled = jax.jit(jax.value_and_grad(problem.objective))

    def function(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = compiled(theta)
        return float(value), np.asarray(gradient)

    function(problem.start)
    trace.start(problem.start)
    # SciPy looks at the name of a callback's argument.
    found = scipy.optimize.minimize(
        function, problem.start, jac=True, method=method, callback=lambda xk: trace.step(xk), options=options
    )
    trace.end(found.x, str(found.message))


def least_squares(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """Levenberg-Marquardt of MINPACK ("lm"), or a trust region ("trf"): a step is what a new Jacobian follows."""
    residuals, jacobian = jax.jit(problem.residuals), jax.jit(problem.jacobian)
    began = False

    def derivative(theta: np.ndarray) -> np.ndarray:
        nonlocal began
        if began:
            trace.step(np.array(theta))
        began = True
        return np.asarray(jacobian(theta))

    np.asarray(residuals(problem.start)), np.asarray(jacobian(problem.start))
    trace.start(problem.start)
    tolerances = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-15)
    found = scipy.optimize.least_squares(
        lambda theta: np.asarray(residuals(theta)),
        problem.start,
        derivative,
        method=settings["method"],
        max_nfev=MANY,
        **tolerances,
    )
    trace.end(found.x, found.message)
