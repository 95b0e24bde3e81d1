"""Small problems whose dense matrices are at hand."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv


def network(params, x):
    xp = cv.namespace(x)
    hidden = xp.tanh(x @ params["a"]["weight"] + params["a"]["bias"])
    return hidden @ params["b"]["weight"] + params["b"]["bias"]


def make_problem(be, *, n=12, widths=(4, 3, 3), weighted=False, batches=False, dtype=None, reduction="mean"):
    """A network with tanh and random labels."""
    rng = np.random.default_rng(1)
    inputs, hidden, classes = widths
    params = {
        "a": {"weight": rng.standard_normal((inputs, hidden)), "bias": 0.1 * rng.standard_normal(hidden)},
        "b": {"weight": rng.standard_normal((hidden, classes)), "bias": 0.1 * rng.standard_normal(classes)},
    }
    x, y = rng.standard_normal((n, inputs)), rng.integers(0, classes, n)
    parts = [x, y] + ([rng.uniform(0.5, 2, n)] if weighted else [])
    data = tuple(be.asarray(part, dtype=dtype if part.dtype.kind == "f" else None) for part in parts)
    if batches:
        data = [tuple(part[rows, ...] for part in data) for rows in (slice(0, 5), slice(5, None))]
    leaves = {k: {name: be.asarray(a, dtype=dtype) for name, a in layer.items()} for k, layer in params.items()}
    return cv.Problem(cv.Model(network, leaves), cv.Categorical(), data, reduction=reduction)


def dense(operator):
    """The matrix in float64, from products with the columns of the identity."""
    be, n = operator.backend, operator.shape[0]
    identity = be.asarray(np.eye(n), dtype=f"float{be.xp.finfo(operator.dtype).bits}")
    return np.asarray(be.to_numpy(operator @ identity), dtype=np.float64)


@pytest.fixture
def numpy_backend():
    return cv.backend("numpy")
