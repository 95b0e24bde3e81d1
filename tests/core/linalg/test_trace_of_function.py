"""Stochastic Lanczos quadrature: traces of functions and log-determinants."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.linalg import logdet, trace, trace_of_function
from curvature.linalg.map import Counted
from curvature.linalg.quadrature import quadrature
from curvature.operators import Dense, Diagonal, MatrixFree

N = 300
POSITIVE = 0.5 + np.arange(N) % 17 / 10
WIDE = np.logspace(-3, 1, N)


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_small_operators_are_exact(operator, symmetric, damping):
    for n in (0, 1, 5, 80):
        matrix = symmetric(1 + np.arange(n) % 3)
        estimate = logdet(operator(matrix, symmetric=True), damping)
        assert estimate.value == pytest.approx(np.linalg.slogdet(matrix + damping * np.eye(n))[1], rel=1e-12, abs=1e-12)
        assert (estimate.method, estimate.products, estimate.standard_error) == ("exact", n, 0.0)


@pytest.mark.parametrize("spectrum", [POSITIVE, WIDE], ids=["narrow", "wide"])
def test_logdet(operator, symmetric, spectrum):
    matrix = symmetric(spectrum)
    exact = np.linalg.slogdet(matrix)[1]
    estimate = logdet(operator(matrix), tolerance=0.2, max_products=299)
    assert estimate.method == "stochastic Lanczos quadrature"
    assert estimate.converged
    assert abs(estimate.value - exact) < 5 * estimate.standard_error
    assert logdet(operator(matrix), tolerance=0.01).value == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("spectrum", [POSITIVE, WIDE], ids=["narrow", "wide"])
def test_intervals_cover(symmetric, spectrum):
    matrix = symmetric(spectrum)
    exact = np.log(spectrum).sum()
    found = [logdet(Dense(matrix), tolerance=0.3, max_products=299, seed=seed) for seed in range(80)]
    covered = [low <= exact <= high for low, high in (estimate.interval() for estimate in found)]
    assert 0.88 <= np.mean(covered) <= 1.0
    values = np.asarray([estimate.value for estimate in found])
    assert abs(values.mean() - exact) < 5 * values.std(ddof=1) / 80**0.5 + 0.03 * abs(exact)


def test_rules_of_quadrature_are_exact_where_the_space_is(be, operator, symmetric):
    """Six distinct eigenvalues: after six steps zᵀ f(A) z is right for every f, and the weights add up to n."""
    matrix = symmetric(np.tile([1.0, 2.0, 3.0, 5.0, 8.0, 13.0], 20))
    counted = Counted(operator(matrix))
    rules = quadrature(counted, be.rng(2), lambda t, w: w @ np.log(t), tolerance=1e-14, width=1, products=100)
    z = be.to_numpy(be.rng(2).rademacher((120, 1), dtype=be.xp.float64))
    values, vectors = np.linalg.eigh(matrix)
    expected = z.T @ (vectors * np.log(values)) @ (vectors.T @ z)
    assert rules.settled
    assert counted.products <= 8
    np.testing.assert_allclose(rules.values, expected[0], rtol=1e-10)
    np.testing.assert_allclose(rules.weights.sum(axis=1), 120, rtol=1e-12)


def test_trace_of_functions(be, operator, symmetric):
    matrix = symmetric(np.linspace(-1, 2, N))
    for f, exact in (
        (lambda x: x**2, np.sum(np.linspace(-1, 2, N) ** 2)),
        (be.xp.exp, np.sum(np.exp(np.linspace(-1, 2, N)))),
        (lambda x: x * 0.0 + 1.0, N),
    ):
        estimate = trace_of_function(operator(matrix), f, tolerance=0.05, max_products=299)
        assert estimate.converged
        assert abs(estimate.value - exact) <= 5 * estimate.standard_error + 1e-9 * N
    linear = trace_of_function(operator(matrix), lambda x: x, tolerance=0.05, seed=3)
    assert linear.value == pytest.approx(trace(operator(matrix), tolerance=0.01).value, rel=0.3)


def test_fails_to_converge_in_the_open():
    entries = np.logspace(-9, 0, 4000)
    short = logdet(Diagonal(entries), tolerance=1e-6, max_products=100)
    assert not short.converged
    assert short.products <= 100
    assert short.standard_error > 0
    longer = logdet(Diagonal(entries), 1e-3, tolerance=0.01)
    assert longer.converged
    assert longer.value == pytest.approx(np.log(entries + 1e-3).sum(), rel=0.02)


def test_not_positive(operator, symmetric):
    indefinite = operator(symmetric(np.r_[-0.5, np.linspace(1, 2, N - 1)]), symmetric=True)
    for products in (150, None):  # by quadrature and by the eigenvalues
        with pytest.raises(cv.NotPositiveDefiniteError, match=r"a damping above 0\.\d+ more"):
            logdet(indefinite, tolerance=1e-3, max_products=products)
    assert logdet(indefinite, 0.6, tolerance=0.05).converged
    singular = operator(symmetric(np.r_[np.zeros(10), np.linspace(1, 2, N - 10)]), symmetric=True)
    with pytest.raises(cv.SingularMatrixError, match=r"a damping of \de-\d+ or more would do"):
        logdet(singular)
    with pytest.raises(cv.SingularMatrixError, match="a damping of"):
        logdet(Diagonal(np.r_[np.zeros(3000), np.ones(3000)]))


def test_float32_and_scale(operator, symmetric):
    matrix = symmetric(POSITIVE)
    single = logdet(operator(matrix, dtype="float32"), tolerance=0.05)
    assert single.value == pytest.approx(logdet(operator(matrix), tolerance=0.05).value, rel=1e-3)
    tiny = logdet(operator(matrix * 1e-25, dtype="float32", symmetric=True), tolerance=0.05)
    assert tiny.value == pytest.approx(np.log(POSITIVE * 1e-25).sum(), rel=1e-2)


def test_one_seed_is_one_answer_everywhere(operator, symmetric):
    matrix = symmetric(WIDE)
    here, again, other = (logdet(operator(matrix), tolerance=0.3, max_products=250, seed=seed) for seed in (1, 1, 2))
    numpy = logdet(Dense(matrix), tolerance=0.3, max_products=250, seed=1)
    assert here == again
    assert here.value == pytest.approx(numpy.value, rel=1e-10)
    assert here.value != other.value


def test_large_and_matrix_free():
    n = 100_000
    entries = 1 / np.arange(1, n + 1)
    free = MatrixFree(lambda v: entries[:, None] * v, n, dtype=np.dtype("float64"), backend=cv.backend("numpy"))
    estimate = logdet(free, 1e-2)
    assert estimate.converged
    assert estimate.value == pytest.approx(np.log(entries + 1e-2).sum(), rel=0.01)


def test_refusals(bare):
    operator = Diagonal(np.linspace(1, 2, 400))
    for damping in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="damping"):
            logdet(operator, damping)
    with pytest.raises(ValueError, match="max_products must be 16 or more for logdet, got 8"):
        logdet(operator, max_products=8)
    with pytest.raises(ValueError, match="tolerance"):
        logdet(operator, tolerance=0)
    with pytest.raises(cv.NotSymmetricError, match="logdet is defined for symmetric"):
        logdet(bare(np.eye(3)))
    with pytest.raises(cv.DataError, match=r"the function of eigenvalues is nan at -1"), np.errstate(invalid="ignore"):
        trace_of_function(Diagonal(-np.ones(50)), lambda x: x**0.5)
    with pytest.raises(cv.DataError, match=r"gave shape \(\) of \(50,\)"):
        trace_of_function(Diagonal(np.ones(50)), np.sum)
