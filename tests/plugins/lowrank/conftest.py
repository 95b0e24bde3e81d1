"""A small network, and matrices with a spectrum that is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense


def network(params, x):
    xp = cv.namespace(x)
    return xp.tanh(x @ params[0] + params[1]) @ params[2]


@pytest.fixture
def make_problem(be):
    """problem(N, batches=None): 3-4-3 with softmax, 28 parameters, on the backend of the test."""

    def problem(n=5, batches=None, dtype="float64", reduction="mean"):
        rng = np.random.default_rng(7)
        params = [rng.standard_normal(shape) for shape in ((3, 4), (4,), (4, 3))]
        x, y = rng.standard_normal((n, 3)), rng.integers(0, 3, n)
        weights = rng.uniform(0.5, 2.0, n)
        place = [be.asarray(p, dtype=dtype) for p in params]
        floating = [be.asarray(a, dtype=dtype) for a in (x, weights)]
        labels = be.asarray(y)
        data = (floating[0], labels, floating[1])
        if batches is not None:
            edges = np.cumsum([0, *batches])
            data = [tuple(a[start:stop, ...] for a in data) for start, stop in pairwise(edges)]
        model = cv.Model(network, place, backend=be)
        return cv.Problem(model, cv.Categorical(), data, reduction=reduction)

    return problem


@pytest.fixture
def with_spectrum(be):
    """operator(values): a dense symmetric matrix with these eigenvalues in a random basis, and that matrix on the host."""

    def operator(values, seed=0, dtype="float64"):
        values = np.asarray(values, dtype=float)
        q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
        dense = (q * values) @ q.T
        return Dense(be.asarray((dense + dense.T) / 2, dtype=dtype), backend=be, symmetric=True), dense

    return operator


class Counting(cv.Operator):
    """A dense matrix that is known by its products, and counts them."""

    structure = "matrix-free"

    def __init__(self, dense: Dense) -> None:
        self.dense, self.backend, self.space, self.products = dense, dense.backend, None, 0

    shape = property(lambda self: self.dense.shape)
    dtype = property(lambda self: self.dense.dtype)

    def _matmat(self, v):
        self.products += v.shape[1]
        return self.dense._matmat(v)

    def map_arrays(self, function, backend):
        return Counting(self.dense.map_arrays(function, backend))


@pytest.fixture
def counting():
    return Counting
