"""A network with more parameters than examples times outputs, and dense references."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv

SPLIT = (slice(0, 1), slice(1, 4), slice(4, 6))
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0, 1.5, 0.25])


def network(p, x):
    xp = cv.namespace(x)
    return xp.tanh(x @ p["w"] + p["b"]) @ p["v"]


class Tasks:
    """Problems of six examples, 64 parameters and three outputs."""

    def __init__(self, generator):
        shapes = {"w": (4, 8), "b": (8,), "v": (8, 3)}
        self.params = {name: generator.standard_normal(shape) for name, shape in shapes.items()}
        self.x = generator.standard_normal((6, 4))
        self.labels = generator.integers(0, 3, 6)
        self.targets = generator.standard_normal((6, 3))

    def __call__(self, be, *, likelihood=None, weights=None, batches=(), reduction="mean", rows=slice(None), dtype="float64"):
        def move(a):
            return be.asarray(a, dtype=dtype if a.dtype.kind == "f" else None)

        likelihood = likelihood or cv.Categorical()
        y = self.labels if isinstance(likelihood, cv.Categorical) else self.targets
        arrays = [self.x[rows], y[rows]] + ([] if weights is None else [weights[rows]])
        data = [tuple(move(a[part]) for a in arrays) for part in batches] or tuple(move(a) for a in arrays)
        model = cv.Model(network, {name: move(a) for name, a in self.params.items()}, backend=be)
        return cv.Problem(model, likelihood, data, reduction=reduction)


@pytest.fixture
def tasks(generator):
    return Tasks(generator)


def dense(operator):
    return operator.backend.to_numpy(operator.to_dense())


def flat(problem, tree):
    return problem.backend.to_numpy(problem.space.ravel(problem.xp, tree))


def approximated(matrix, **options):
    return cv.approximate(matrix, "sample-space", **options)


def dense_rows(matrix):
    """J̃ (N R, P) from the dense Jacobian of the outputs and the output factors."""
    problem = matrix.problem
    be, pieces, start = problem.backend, [], 0
    jacobian = be.to_numpy(cv.Jacobian(problem).to_dense())
    for evaluation, share in problem.evaluations():
        factor = be.to_numpy(matrix.output_factor(evaluation)) * float(share) ** 0.5
        n, c, r = factor.shape
        here = jacobian[start : start + n * c].reshape(n, c, -1)
        pieces.append(np.einsum("ncp,ncr->nrp", here, factor).reshape(n * r, -1))
        start += n * c
    return np.concatenate(pieces)


def unit_weights(problem):
    """√w_n with Σ w = 1."""
    be = problem.backend
    weights = np.concatenate([np.ones(b.size) if b.weights is None else be.to_numpy(b.weights) for b in problem.batches()])
    return np.sqrt(weights / weights.sum())


def centred(problem, rows):
    """√w_n (x_n - Σ w x) of rows √w_n x_n, in each column of the factor."""
    q = unit_weights(problem)
    stacked = rows.reshape(len(q), -1, rows.shape[1])
    return (stacked - q[:, None, None] * np.einsum("n,nrp->rp", q, stacked)).reshape(rows.shape)
