"""The diagonal, against the dense matrix on generated networks; and what it does not allocate."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv


def network(params, x):
    xp = cv.namespace(x)
    for layer in params[:-1]:
        x = xp.tanh(x @ layer[0] + layer[1]) if len(layer) == 2 else xp.tanh(x @ layer[0])
    return x @ params[-1][0]


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    n=st.integers(1, 5),
    bias=st.booleans(),
    positions=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 1000),
    kind=st.sampled_from([cv.Fisher, cv.GGN, cv.EmpiricalFisher, cv.MonteCarloFisher]),
)
def test_it_is_the_diagonal(sizes, n, bias, positions, seed, kind):
    rng = np.random.default_rng(seed)
    layers = list(pairwise(sizes))
    params = [(rng.standard_normal(s), rng.standard_normal(s[1])) if bias else (rng.standard_normal(s),) for s in layers]
    params[-1] = params[-1][:1]

    def apply(p, x):
        outputs = network(p, x)
        return outputs if positions is None else cv.namespace(outputs).sum(outputs, axis=1)

    shape = (n, sizes[0]) if positions is None else (n, positions, sizes[0])
    task = cv.Problem(
        cv.Model(apply, params), cv.Gaussian(0.5), (rng.standard_normal(shape), rng.standard_normal((n, sizes[-1])))
    )
    matrix = kind(task)
    dense = matrix.to_dense()
    np.testing.assert_allclose(cv.approximate(matrix, "diagonal").diagonal(), np.diag(dense), rtol=1e-9, atol=1e-12)


def test_gradients_of_single_examples_are_never_formed():
    """N · P numbers would be 128 MB; the peak stays far below."""
    rng = np.random.default_rng(0)
    params = [(rng.standard_normal((200, 100)),), (rng.standard_normal((100, 4)),)]
    task = cv.Problem(cv.Model(network, params), cv.Categorical(), (rng.standard_normal((800, 200)), rng.integers(0, 4, 800)))
    cv.approximate(cv.GGN(task), "diagonal")
    tracemalloc.start()
    cv.approximate(cv.GGN(task), "diagonal")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.2 * 800 * 20_400 * 8
