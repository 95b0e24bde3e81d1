"""The same analysis on NumPy and on array-api-strict, and how far the two are apart.

    python compare_with_numpy.py

The Fisher information of a small network, K-FAC of it and a natural-gradient step: written once, run on the backend of that name.
"""

from __future__ import annotations

import numpy as np

import curvature as cv


def network(params, x):
    """Logits of a network with one hidden layer, written for every array library."""
    xp = cv.namespace(x)
    hidden = xp.tanh(x @ params["in"]["weight"] + params["in"]["bias"])
    return hidden @ params["out"]["weight"] + params["out"]["bias"]


def analyse(name: str) -> dict[str, np.ndarray]:
    """The Fisher information and a natural-gradient step by K-FAC, on the backend of that name."""
    be = cv.backend(name, dtype="float64")
    rng = np.random.default_rng(0)
    shapes = {"in": (3, 5), "out": (5, 4)}
    params = {
        layer: {"weight": be.asarray(rng.normal(size=(i, o))), "bias": be.asarray(np.zeros(o))}
        for layer, (i, o) in shapes.items()
    }
    x, y = be.asarray(rng.normal(size=(30, 3))), be.asarray(rng.integers(0, 4, 30))
    problem = cv.Problem(cv.Model(network, params), cv.Categorical(), (x, y))
    fisher = cv.Fisher(problem)
    kfac = cv.approximate(fisher, "kfac")
    step = kfac.solve(problem.gradient(), damping=1e-3)
    flat = problem.space.ravel(be.xp, step)
    return {"fisher": be.to_numpy(fisher.to_dense()), "kfac": be.to_numpy(kfac.to_dense()), "step": be.to_numpy(flat)}


def main() -> None:
    ours, theirs = analyse("numpy"), analyse("strict")
    for name, values in theirs.items():
        print(f"{name:6s} {values.shape!s:9s} largest difference from NumPy {np.max(np.abs(values - ours[name])):.1e}")


if __name__ == "__main__":
    main()
