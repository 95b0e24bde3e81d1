"""Estimators of the diagonal."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.linalg import diagonal
from curvature.operators import Dense, MatrixFree

METHODS = ("xdiag", "hutchinson")
N = 50
DECAYING = 1 / np.arange(1, N + 1) ** 2
FLAT = 1 + np.arange(N) % 4 / 4


@pytest.mark.parametrize("method", METHODS)
def test_small_operators_are_exact(be, operator, method, generator):
    for n in (0, 1, 3, 31):
        matrix = generator.standard_normal((n, n))
        estimate = diagonal(operator(matrix), method=method, tolerance=1e-9)
        np.testing.assert_array_equal(be.to_numpy(estimate.value), np.diag(matrix))
        np.testing.assert_array_equal(be.to_numpy(estimate.standard_error), np.zeros(n))
        assert (estimate.method, estimate.products, estimate.converged) == ("exact", n, True)


@pytest.mark.parametrize("method", METHODS)
def test_the_tolerance_is_met_or_said_not_to_be(be, operator, method, symmetric):
    matrix = np.diag(np.linspace(1, 2, 300)) + symmetric(2.0 / np.arange(1, 301))
    estimate = diagonal(operator(matrix), method=method, tolerance=0.1)
    value, error = (be.to_numpy(array) for array in (estimate.value, estimate.standard_error))
    assert estimate.converged
    assert estimate.products < 300
    assert np.linalg.norm(error) <= 0.1 * np.linalg.norm(value)
    assert np.linalg.norm(value - np.diag(matrix)) <= 0.2 * np.linalg.norm(value)
    assert not diagonal(operator(matrix), method=method, tolerance=1e-6, max_products=40).converged


def test_low_rank_is_exact(be, operator, symmetric):
    for rank in (0, 1, 4):
        matrix = symmetric(np.r_[np.arange(1.0, rank + 1), np.zeros(150 - rank)])
        estimate = diagonal(operator(matrix))
        np.testing.assert_allclose(be.to_numpy(estimate.value), np.diag(matrix), atol=1e-11)
        assert estimate.products == 32


@pytest.mark.parametrize("method", METHODS)
def test_diagonal_matrices_are_exact_by_signs(method):
    """z ∘ D z = diag D for signs z; XDiag takes Q Qᵀ D and adds what is left."""
    estimate = diagonal(Dense(np.diag(np.arange(100.0))), method="hutchinson")
    np.testing.assert_allclose(estimate.value, np.arange(100.0), rtol=1e-14)


@pytest.mark.parametrize("spectrum", [FLAT, DECAYING], ids=["flat", "decaying"])
@pytest.mark.parametrize("method", METHODS)
def test_unbiased_with_honest_errors(method, spectrum, symmetric):
    """The mean of each entry lies within 5 of its standard errors, and intervals cover as often as they say."""
    matrix = symmetric(spectrum)
    found = [diagonal(Dense(matrix), method=method, tolerance=1e-15, max_products=24, seed=seed) for seed in range(200)]
    values = np.stack([estimate.value for estimate in found])
    assert np.all(np.abs(values.mean(axis=0) - np.diag(matrix)) < 5 * values.std(axis=0, ddof=1) / 200**0.5)
    intervals = [estimate.interval() for estimate in found]
    covered = np.mean([(low <= np.diag(matrix)) & (np.diag(matrix) <= high) for low, high in intervals])
    assert 0.88 <= covered <= 1.0


def test_xdiag_gains_from_decay(symmetric):
    matrix = symmetric(0.7 ** np.arange(100))
    error = {
        method: np.linalg.norm(diagonal(Dense(matrix), method=method, tolerance=1e-15, max_products=60).value - np.diag(matrix))
        for method in METHODS
    }
    assert error["xdiag"] < 1e-2 * error["hutchinson"]


def test_of_a_map_that_is_not_symmetric(bare, generator):
    matrix = generator.standard_normal((200, 3)) @ generator.standard_normal((3, 200))
    np.testing.assert_allclose(diagonal(bare(matrix)).value, np.diag(matrix), atol=1e-11)
    with pytest.raises(cv.UnsupportedError, match="diagonal needs products with the transpose"):
        diagonal(bare(matrix, transposes=False))
    assert diagonal(bare(matrix, transposes=False), method="hutchinson", tolerance=0.5).value.shape == (200,)


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_is_one_answer_everywhere(be, operator, method, symmetric):
    matrix = symmetric(1 / np.arange(1, 121))
    values = [
        be.to_numpy(diagonal(operator(matrix), method=method, tolerance=0.1, max_products=60, seed=seed).value)
        for seed in (1, 1, 2)
    ]
    numpy = diagonal(Dense(matrix), method=method, tolerance=0.1, max_products=60, seed=1).value
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_allclose(values[0], numpy, rtol=1e-9, atol=1e-12)
    assert np.max(np.abs(values[0] - values[2])) > 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1.0, 1e-25])
def test_float32(be, operator, method, size, symmetric):
    matrix = size * (np.diag(np.linspace(1, 2, 200)) + symmetric(1 / np.arange(1, 201) ** 2))
    estimate = diagonal(operator(matrix, dtype="float32"), method=method, tolerance=0.1)
    assert be.to_numpy(estimate.value).dtype == np.float32
    assert be.to_numpy(estimate.standard_error).dtype == np.float32
    error = be.to_numpy(estimate.value).astype(float) / size - np.diag(matrix) / size
    assert np.linalg.norm(error) < 0.2 * np.linalg.norm(np.diag(matrix) / size)
    assert np.all(be.to_numpy(estimate.standard_error) > 0)


@pytest.mark.parametrize("method", METHODS)
def test_large_and_matrix_free(method):
    n = 100_000
    entries = 1 + np.arange(n) % 3
    row = np.cos(np.arange(n)) / n**0.5
    backend = cv.backend("numpy")
    free = MatrixFree(lambda v: entries[:, None] * v + row[:, None] * (row @ v), n, dtype=np.dtype("float64"), backend=backend)
    estimate = diagonal(free, method=method, tolerance=0.5, max_products=64)
    assert np.linalg.norm(estimate.value - entries - row**2) < 0.5 * np.linalg.norm(entries)


def test_refusals(bare):
    with pytest.raises(ValueError, match="xdiag, hutchinson; got 'bekas'"):
        diagonal(Dense(np.eye(3)), method="bekas")
    with pytest.raises(cv.ShapeError, match="diagonal needs a square operator"):
        diagonal(bare(np.ones((3, 2))))
