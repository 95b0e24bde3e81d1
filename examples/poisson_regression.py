"""A generalised linear model in NumPy: Fisher scoring, and standard errors from the Fisher information.

    python examples/poisson_regression.py

Counts with a log-linear rate. The outputs are natural parameters, so one natural-gradient step is one step of Fisher scoring
(iteratively reweighted least squares), and the inverse Fisher information of the summed loss is the Cramér-Rao bound.
"""

from __future__ import annotations

import numpy as np

import curvature as cv


def rate(params: dict, x: np.ndarray) -> np.ndarray:
    """Log rate of every example."""
    return x @ params["slopes"] + params["intercept"]


def main() -> tuple[np.ndarray, np.ndarray]:
    """Estimates and standard errors, intercept first."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 2))
    y = rng.poisson(np.exp(0.5 + x @ np.array([0.8, -0.4]))).astype(float)

    start = {"intercept": np.zeros(1), "slopes": np.zeros(2)}
    problem = cv.Problem(cv.Model(rate, start), cv.Poisson(), (x, y), reduction="sum")
    scoring = cv.NaturalGradient("exact", damping=0.0, learning_rate=cv.Backtracking())
    params, state = start, scoring.init(problem)
    for _ in range(10):
        params, state, info = scoring.step(params, state)

    fisher = cv.approximate(cv.Fisher(problem.at(params)), "exact")
    errors = np.sqrt(fisher.inverse().diagonal())
    estimates = problem.space.ravel(np, params)
    print(f"loss {info.loss:.4f}, norm of the gradient {info.gradient_norm:.1e}")
    for name, value, error in zip(("intercept", "slope 1", "slope 2"), estimates, errors, strict=True):
        print(f"{name:10s} {value:8.4f} ± {error:.4f}")
    return estimates, errors


if __name__ == "__main__":
    main()
