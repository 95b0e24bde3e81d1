"""A stranger's array library becomes a backend: register it, compute on it, prove that it is right.

    python examples/third_party_backend.py

The library is array-api-strict. It has arrays and the functions of the Array API standard, and knows nothing of
derivatives or models: those come from the core. In a package of its own the backend is a module without the last line;
instead its pyproject.toml says ``strict = "the_module"`` under ``[project.entry-points.curvature]``.
"""

from __future__ import annotations

import sys
from functools import partial

import array_api_strict
import numpy as np

import curvature as cv
from curvature_conformance import issues

# The backend: begin
strict = partial(cv.ArrayBackend, "strict", array_api_strict)  # called with device= and dtype=


def owns(x):
    return type(x).__module__.startswith("array_api_strict")


@cv.hookimpl
def curvature_register_backends():
    return [cv.BackendSpec("strict", loader=f"{__name__}:strict", requires=("array_api_strict",), owns=owns)]


cv.register(sys.modules[__name__])
# The backend: end


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


def main() -> tuple[dict[str, np.ndarray], list[str]]:
    """What comes out on the new backend, and what the conformance suite finds wrong with it: nothing."""
    ours, theirs = analyse("numpy"), analyse("strict")
    for name, values in theirs.items():
        print(f"{name:6s} {values.shape!s:9s} largest difference from NumPy {np.max(np.abs(values - ours[name])):.1e}")
    wrong = issues("strict")
    print(f"conformance: {len(wrong)} issues", *wrong, sep="\n")
    return theirs, wrong


if __name__ == "__main__":
    main()
