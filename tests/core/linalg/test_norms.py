"""Frobenius and spectral norms."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.linalg import frobenius_norm, spectral_norm
from curvature.operators import Dense, Diagonal

METHODS = ("xtrace", "hutchinson")
DECAYING = 1 / np.arange(1, 61) ** 1.5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(20, 20), (5, 30), (30, 5)])
def test_small_maps_are_exact(bare, method, shape, generator):
    matrix = generator.standard_normal(shape)
    estimate = frobenius_norm(bare(matrix), method=method)
    assert estimate.value == pytest.approx(np.linalg.norm(matrix), rel=1e-13)
    assert (estimate.method, estimate.products) == ("exact", shape[1])


@pytest.mark.parametrize("method", METHODS)
def test_frobenius(operator, method, symmetric):
    matrix = symmetric((-1.0) ** np.arange(400) / np.arange(1, 401) ** 0.3)
    estimate = frobenius_norm(operator(matrix), method=method, tolerance=0.05)
    assert estimate.converged
    assert estimate.products < 400
    assert estimate.value == pytest.approx(np.linalg.norm(matrix), rel=0.15)
    assert not frobenius_norm(operator(matrix), method=method, tolerance=1e-5, max_products=60).converged


@pytest.mark.parametrize("shape", [(150, 150), (90, 200), (200, 90)])
def test_xtrace_of_maps_that_are_not_symmetric(bare, shape, generator):
    """Low rank is exact; in general the error is what is said."""
    low = generator.standard_normal((shape[0], 4)) @ generator.standard_normal((4, shape[1]))
    estimate = frobenius_norm(bare(low), max_products=60)
    assert estimate.method == "xtrace"
    assert estimate.value == pytest.approx(np.linalg.norm(low), rel=1e-10)
    matrix = low + 0.3 * generator.standard_normal(shape)
    estimate = frobenius_norm(bare(matrix), tolerance=1e-9, max_products=60)
    assert abs(estimate.value - np.linalg.norm(matrix)) < 5 * estimate.standard_error < 0.2 * estimate.value
    with pytest.raises(cv.UnsupportedError, match="transpose"):
        frobenius_norm(bare(matrix, transposes=False))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shift", [0.0, 0.5], ids=["decaying", "flat"])
def test_squares_are_unbiased_and_intervals_cover(method, shift, symmetric):
    matrix = symmetric(DECAYING + shift)
    exact = np.linalg.norm(matrix)
    found = [frobenius_norm(Dense(matrix), method=method, tolerance=1e-15, max_products=30, seed=s) for s in range(200)]
    squares = np.asarray([estimate.value**2 for estimate in found])
    assert abs(squares.mean() - exact**2) < 5 * squares.std(ddof=1) / 200**0.5
    covered = np.mean([low <= exact <= high for low, high in (estimate.interval() for estimate in found)])
    assert 0.88 <= covered <= 1.0


def test_xtrace_gains_from_decay(symmetric):
    matrix = symmetric(0.7 ** np.arange(100))
    exact, error = np.linalg.norm(matrix), {}
    for method in METHODS:
        found = [frobenius_norm(Dense(matrix), method=method, tolerance=1e-15, max_products=40, seed=seed) for seed in range(10)]
        error[method] = np.mean([abs(estimate.value - exact) for estimate in found])
    assert error["xtrace"] < 1e-4 * error["hutchinson"]


@pytest.mark.parametrize("spectrum", [np.linspace(-3, 1, 80), np.zeros(80), np.r_[np.full(70, 2.0), np.full(10, -2.0)]])
def test_spectral_norm(operator, symmetric, spectrum):
    estimate = spectral_norm(operator(symmetric(spectrum)))
    exact = np.max(np.abs(spectrum))
    assert estimate.converged
    assert estimate.value == pytest.approx(exact, rel=1e-5, abs=1e-12)
    assert estimate.standard_error <= 1e-3 * estimate.value + 1e-12


@pytest.mark.parametrize("shape", [(120, 120), (70, 300), (300, 70), (1, 9), (9, 1)])
def test_spectral_norm_of_maps_that_are_not_symmetric(bare, shape, generator):
    matrix = generator.standard_normal(shape)
    estimate = spectral_norm(bare(matrix), tolerance=1e-4)
    assert estimate.converged
    assert estimate.value == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-6)
    assert estimate.products > 0


def test_spectral_norm_that_does_not_converge_says_so():
    estimate = spectral_norm(Diagonal(np.linspace(0.999, 1, 5000)), tolerance=1e-9, max_products=20)
    assert not estimate.converged
    assert estimate.standard_error > 1e-9
    assert 0.999 <= estimate.value <= 1 + 1e-12


@pytest.mark.parametrize("function", [frobenius_norm, spectral_norm])
@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_any_scale_in_float32(operator, bare, function, size, symmetric):
    matrix = symmetric(1 / np.arange(1, 201))
    exact = np.linalg.norm(matrix, "fro" if function is frobenius_norm else 2)
    estimate = function(operator(matrix * size, dtype="float32", symmetric=True))
    assert estimate.value / size == pytest.approx(exact, rel=0.05)
    assert 0 < estimate.standard_error / size < 0.05
    estimate = function(bare((matrix * size).astype(np.float32)))
    assert estimate.value / size == pytest.approx(exact, rel=0.05)


def test_of_nothing(bare):
    for shape in ((0, 0), (3, 0), (0, 3)):
        assert frobenius_norm(bare(np.zeros(shape))).value == 0.0
        assert spectral_norm(bare(np.zeros(shape))).value == 0.0


def test_large_and_matrix_free():
    entries = 1 / np.arange(1, 100_001)
    assert abs(frobenius_norm(Diagonal(entries)).value / np.linalg.norm(entries) - 1) < 0.05
    assert spectral_norm(Diagonal(entries)).value == pytest.approx(1.0, rel=1e-5)


def test_refusals():
    with pytest.raises(ValueError, match="xtrace, hutchinson; got 'nuclear'"):
        frobenius_norm(Dense(np.eye(3)), method="nuclear")
    with pytest.raises(ValueError, match="tolerance"):
        spectral_norm(Dense(np.eye(3)), tolerance=0)
