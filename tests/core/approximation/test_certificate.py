"""What a certificate says, against dense matrices."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import curvature as cv
from curvature import nn
from curvature.operators import Dense, Diagonal


def network(params, x):
    xp = cv.namespace(x)
    hidden = xp.tanh(x @ xp.matrix_transpose(params["a"]["weight"]) + params["a"]["bias"])
    return hidden @ params["b"]["weight"]


def convolution(params, x):
    xp = cv.namespace(x)
    hidden = xp.tanh(nn.conv2d(x, params["kernel"], params["bias"]))
    return xp.reshape(hidden, (hidden.shape[0], -1)) @ params["head"]


def arrays(kind, rng):
    if kind == "convolution":
        params = {
            "kernel": rng.standard_normal((2, 1, 2, 2)),
            "bias": rng.standard_normal(2),
            "head": rng.standard_normal((8, 3)),
        }
        return convolution, params, rng.standard_normal((7, 1, 3, 3))
    params = {
        "a": {"weight": rng.standard_normal((4, 3)), "bias": rng.standard_normal(4)},
        "b": {"weight": rng.standard_normal((4, 3))},
    }
    return network, params, rng.standard_normal((7, 3))


def task(be, kind="network", *, weighted=False, batches=False, reduction="mean", n=None):
    rng = np.random.default_rng(3)
    apply, params, x = arrays(kind, rng)
    x = x if n is None else rng.standard_normal((n, *x.shape[1:]))
    y = rng.integers(0, 3, x.shape[0])
    parts = [x, y] + ([rng.uniform(0, 2, x.shape[0])] if weighted else [])
    data = tuple(be.asarray(part) for part in parts)
    if batches:
        data = [tuple(part[rows, ...] for part in data) for rows in (slice(0, 3), slice(3, None))]
    leaves = {k: ({n: be.asarray(a) for n, a in v.items()} if isinstance(v, dict) else be.asarray(v)) for k, v in params.items()}
    return cv.Problem(cv.Model(apply, leaves), cv.Categorical(), data, reduction=reduction)


def dense_error(matrix, operator):
    one, other = (matrix.backend.to_numpy(a.to_dense()) for a in (matrix, operator))
    return np.linalg.norm(one - other) / np.linalg.norm(one)


VARIANTS = [
    {},
    {"weighted": True},
    {"batches": True},
    {"weighted": True, "batches": True, "reduction": "sum"},
    {"kind": "convolution"},
    {"kind": "convolution", "weighted": True, "batches": True},
]
KINDS = [cv.Fisher, cv.GGN, cv.EmpiricalFisher, lambda problem: cv.MonteCarloFisher(problem, samples=2, seed=5)]


@pytest.mark.parametrize("method", ["kfac", "diagonal", "exact"])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "+".join(map(str, v)) or "plain")
@pytest.mark.parametrize("kind", KINDS, ids=["fisher", "ggn", "empirical", "monte-carlo"])
def test_the_relative_error_is_that_of_the_dense_matrices(be, kind, variant, method):
    matrix = kind(task(be, **variant))
    operator = cv.approximate(matrix, method)
    found = operator.certificate()
    assert found.exact
    assert found.interval == (found.relative_error, found.relative_error)
    np.testing.assert_allclose(found.relative_error, dense_error(matrix, operator), rtol=1e-10, atol=found.resolution)
    np.testing.assert_allclose(found.matrix_norm, np.linalg.norm(be.to_numpy(matrix.to_dense())), rtol=1e-12)
    assert found.resolution < 1e-7
    if method == "exact":
        assert "≤" in str(found)


def test_any_operator_can_be_held_against_a_matrix(be):
    fisher = cv.Fisher(task(be))
    rng = np.random.default_rng(0)
    random = rng.standard_normal(fisher.shape)
    for operator in (Dense(be.asarray(random + random.T)), Diagonal(be.asarray(rng.uniform(0, 1, fisher.shape[0])))):
        found = cv.certificate(operator, fisher)
        np.testing.assert_allclose(found.relative_error, dense_error(fisher, operator), rtol=1e-10)
    zero = cv.certificate(Diagonal(be.asarray(np.zeros(fisher.shape[0]))), fisher)
    np.testing.assert_allclose((zero.relative_error, zero.cosine), (1.0, 0.0))
    doubled = cv.approximate(fisher, "exact") * 2.0
    np.testing.assert_allclose(cv.certificate(doubled, fisher).cosine, 1.0)


def test_the_certificate_of_a_hessian(be):
    hessian = cv.Hessian(task(be))
    operator = cv.approximate(cv.GGN(hessian.problem), "kfac")
    expected = dense_error(hessian, operator)
    np.testing.assert_allclose(cv.certificate(operator, hessian).relative_error, expected, rtol=1e-10)
    exact = cv.certificate(cv.approximate(hessian, "exact"), hessian)
    assert exact.relative_error < 1e-14
    estimated = cv.certificate(operator, hessian, exact=False, probes=200)
    assert not estimated.exact
    assert estimated.interval[0] <= expected <= estimated.interval[1]


@cache
def coverage(variant):
    be = cv.backend("numpy")
    fisher = cv.Fisher(task(be, n=60, **dict(variant)))
    operator = cv.approximate(fisher, "kfac")
    found = [operator.certificate(exact=False, examples=100, seed=seed) for seed in range(60)]
    return dense_error(fisher, operator), found


@pytest.mark.parametrize("variant", [{}, {"weighted": True, "batches": True, "reduction": "sum"}, {"kind": "convolution"}])
def test_drawn_examples_give_an_interval_that_holds(variant):
    """The squared error is unbiased, and 95 % intervals cover the truth about as often as they say."""
    expected, found = coverage(tuple(variant.items()))
    squares = np.array([one.relative_error**2 for one in found])
    assert abs(squares.mean() - expected**2) < 5 * squares.std(ddof=1) / len(found) ** 0.5
    covered = np.mean([low <= expected <= high for low, high in (one.interval for one in found)])
    assert covered >= 0.85
    assert squares.std() < 0.5 * expected**2


@pytest.mark.parametrize("batches", [False, True])
def test_many_columns_are_mixed(monkeypatch, batches):
    from curvature.approximation import certify

    be = cv.backend("numpy")
    fisher = cv.Fisher(task(be, n=40, batches=batches))
    operator = cv.approximate(fisher, "kfac")
    monkeypatch.setattr(certify, "COLUMNS", 2)
    found = [operator.certificate(exact=False, examples=120, seed=seed) for seed in range(30)]
    squares = np.array([one.relative_error**2 for one in found])
    assert abs(squares.mean() - dense_error(fisher, operator) ** 2) < 5 * squares.std(ddof=1) / 30**0.5


def test_a_seed_is_one_answer_and_examples_are_counted():
    be = cv.backend("numpy")
    fisher = cv.Fisher(task(be, n=40))
    operator = cv.approximate(fisher, "diagonal")
    one, two, other = (operator.certificate(exact=False, examples=50, seed=seed) for seed in (1, 1, 2))
    assert one == two
    assert one != other
    assert "50 examples" in one.method
    with pytest.raises(cv.DataError, match="at least 3"):
        operator.certificate(exact=False, examples=2)


def test_certified_with_what_the_statistics_took(be):
    problem = task(be)
    problem.structure.layers
    calls = []
    recorded = problem.recorded
    problem.recorded = lambda batch: calls.append(batch.size) or recorded(batch)
    fisher = cv.Fisher(problem)
    kfac, diagonal = cv.approximate(fisher, ["kfac", "diagonal"], certify=True)
    asked_for = len(calls)
    found = [operator.certificate().relative_error for operator in (kfac, diagonal)]
    assert len(calls) == asked_for
    assert [size for size in calls if size > 1] == [7]  # one example tells how many columns there are
    for operator, error in zip((kfac, diagonal), found, strict=True):
        np.testing.assert_allclose(error, dense_error(fisher, operator), rtol=1e-10)


def test_float32_says_what_it_cannot_resolve():
    be = cv.backend("numpy", dtype="float32")
    fisher = cv.Fisher(task(be))
    found = cv.approximate(fisher, "exact").certificate()
    assert found.relative_error <= found.resolution < 0.01


def test_what_does_not_know_its_matrix_says_so(be):
    operator = Diagonal(be.asarray(np.ones(3)))
    with pytest.raises(cv.UnsupportedError, match=r"curvature\.approximate.*curvature\.certificate"):
        operator.certificate()
    fisher = cv.Fisher(task(be))
    with pytest.raises(cv.ShapeError, match="no approximation of a matrix"):
        cv.certificate(operator, fisher)
    other = cv.approximate(fisher, "diagonal").to("torch" if be.name != "torch" else "numpy")
    with pytest.raises(cv.MixedBackendError, match="move it"):
        cv.certificate(other, fisher)
