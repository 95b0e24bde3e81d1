"""Estimators of the trace: exact where they must be, unbiased, with honest intervals."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.linalg import trace
from curvature.operators import Diagonal, MatrixFree

METHODS = ("xtrace", "hutch++", "hutchinson")
N = 60
SLOW = 1 + np.arange(N) % 7 - 2.0
DECAYING = 1 / np.arange(1, N + 1) ** 2


def samples(matrix, method, seeds, products=30):
    """Estimates with a fixed number of products."""
    operator = cv.operators.Dense(matrix)
    return [trace(operator, method=method, tolerance=1e-15, max_products=products, seed=seed) for seed in range(seeds)]


@pytest.mark.parametrize("method", METHODS)
def test_small_operators_are_exact(operator, method, generator):
    for n in (1, 2, 9, 30):
        matrix = generator.standard_normal((n, n))
        estimate = trace(operator(matrix), method=method, tolerance=1e-6)
        assert estimate.value == pytest.approx(np.trace(matrix), rel=1e-12, abs=1e-12)
        assert estimate.standard_error == 0.0
        assert estimate.converged
        assert estimate.method == "exact"
        assert estimate.interval() == (estimate.value, estimate.value)


@pytest.mark.parametrize("method", METHODS)
def test_of_nothing(method):
    estimate = trace(Diagonal(np.zeros(0)), method=method)
    assert (estimate.value, estimate.standard_error, estimate.products) == (0.0, 0.0, 0)


@pytest.mark.parametrize("method", METHODS)
def test_the_tolerance_is_met_or_said_not_to_be(operator, method, symmetric):
    matrix = symmetric(1 / np.arange(1, 301))
    for tolerance in (0.2, 0.02):
        estimate = trace(operator(matrix), method=method, tolerance=tolerance)
        assert estimate.converged
        assert estimate.standard_error <= tolerance * abs(estimate.value)
        assert abs(estimate.value - np.trace(matrix)) <= 5 * tolerance * np.trace(matrix)
    short = trace(operator(matrix), method=method, tolerance=1e-8, max_products=40)
    assert not short.converged
    assert short.standard_error > 1e-8 * abs(short.value)
    assert short.products <= 40


@pytest.mark.parametrize("method", ["xtrace", "hutch++"])
def test_low_rank_is_exact(operator, method, symmetric):
    """A sketch that holds the range leaves nothing to estimate; what is drawn beyond the rank does no harm."""
    for rank in (0, 1, 5):
        matrix = symmetric(np.r_[np.arange(1.0, rank + 1), np.zeros(200 - rank)])
        estimate = trace(operator(matrix), method=method)
        assert estimate.value == pytest.approx(np.trace(matrix), rel=1e-10, abs=1e-12)
        assert estimate.standard_error <= 1e-10
        assert estimate.products < 200


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spectrum", [SLOW, DECAYING], ids=["slow", "decaying"])
def test_unbiased(method, spectrum, symmetric):
    """The mean over 400 seeds lies within 5 of its own standard errors of the trace."""
    matrix = symmetric(spectrum)
    values = np.asarray([estimate.value for estimate in samples(matrix, method, 400)])
    assert abs(values.mean() - np.trace(matrix)) < 5 * values.std(ddof=1) / 20


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spectrum", [SLOW, DECAYING], ids=["slow", "decaying"])
def test_intervals_cover(method, spectrum, symmetric):
    matrix = symmetric(spectrum)
    covered = 0
    for estimate in samples(matrix, method, 200):
        low, high = estimate.interval(0.95)
        covered += low <= np.trace(matrix) <= high
    assert 0.88 * 200 <= covered <= 200


def test_xtrace_gains_from_decay(symmetric):
    matrix = symmetric(0.7 ** np.arange(100))
    error = {
        method: np.sqrt(np.mean([(e.value - np.trace(matrix)) ** 2 for e in samples(matrix, method, 20, products=60)]))
        for method in METHODS
    }
    assert error["xtrace"] < 1e-3 * error["hutchinson"]
    assert error["xtrace"] < 0.2 * error["hutch++"]
    assert error["hutch++"] < 0.05 * error["hutchinson"]


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_is_one_answer_everywhere(operator, method, symmetric, be):
    matrix = symmetric(1 / np.arange(1, 121))
    here = trace(operator(matrix), method=method, tolerance=0.05, seed=3)
    again = trace(operator(matrix), method=method, tolerance=0.05, seed=3)
    numpy = trace(cv.operators.Dense(matrix), method=method, tolerance=0.05, seed=3)
    other = trace(operator(matrix), method=method, tolerance=0.05, seed=4)
    assert here == again
    assert here.value == pytest.approx(numpy.value, rel=1e-12)
    assert here.products == numpy.products
    assert here.value != other.value


@pytest.mark.parametrize("method", METHODS)
def test_float32(operator, method, symmetric):
    matrix = symmetric(1 / np.arange(1, 201) ** 2)
    estimate = trace(operator(matrix, dtype="float32"), method=method, tolerance=0.02)
    reference = trace(operator(matrix), method=method, tolerance=0.02)
    assert estimate.value == pytest.approx(reference.value, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_any_scale_in_float32(operator, method, size):
    entries = size / np.arange(1, 201) ** 2
    matrix = np.diag(entries) + size * 1e-3
    estimate = trace(operator(matrix, dtype="float32"), method=method, tolerance=0.02)
    assert abs(estimate.value / np.trace(matrix) - 1) < 0.1
    assert 0 <= estimate.standard_error < 0.02 * estimate.value


@pytest.mark.parametrize("method", METHODS)
def test_large_and_matrix_free(method):
    n = 100_000
    entries = 1 / np.arange(1, n + 1)
    free = MatrixFree(lambda v: entries[:, None] * v, n, dtype=np.dtype("float64"), backend=cv.backend("numpy"))
    estimate = trace(free, method=method, tolerance=0.01)
    assert estimate.products < 200
    low, high = estimate.interval(0.9999)
    assert low - 1e-9 <= entries.sum() <= high + 1e-9


def test_many_columns_at_a_time():
    widths = []

    def product(v):
        widths.append(v.shape[1])
        return v * np.linspace(0, 1, 500)[:, None] + v.sum(axis=0) / 50

    free = MatrixFree(product, 500, dtype=np.dtype("float64"), backend=cv.backend("numpy"))
    estimate = trace(free, tolerance=1e-3, max_products=256)
    assert sum(widths) == estimate.products
    assert min(widths) >= 16
    assert max(widths) <= 64


def test_refusals(symmetric, bare):
    operator = Diagonal(np.ones(50))
    with pytest.raises(ValueError, match=r"xtrace, hutch\+\+, hutchinson; got 'xtrac'"):
        trace(operator, method="xtrac")
    for tolerance in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="tolerance"):
            trace(operator, tolerance=tolerance)
    for products in (0, 2.5, True):
        with pytest.raises(ValueError, match="max_products"):
            trace(operator, max_products=products)
    with pytest.raises(ValueError, match=r"max_products must be 4 or more for trace by xtrace, got 3"):
        trace(operator, max_products=3)
    with pytest.raises(cv.ShapeError, match=r"trace needs a square operator, this one has shape \(3, 2\)"):
        trace(bare(np.ones((3, 2))))
    with pytest.raises(TypeError, match="progress"):
        trace(operator, progress="yes")


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_finite_is_refused(method):
    entries = np.ones(100)
    entries[7] = np.nan
    with pytest.raises(cv.DataError, match="NaN or infinite"):
        trace(Diagonal(entries), method=method)


def test_no_decisions_by_values_while_compiling(monkeypatch):
    monkeypatch.setattr(cv.ArrayBackend, "is_abstract", lambda self, x: True)
    with pytest.raises(cv.UnsupportedError, match=r"trace decides by values .* outside of jit"):
        trace(Diagonal(np.ones(100)))
