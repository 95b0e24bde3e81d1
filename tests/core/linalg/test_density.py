"""Spectral densities."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.linalg import spectral_density
from curvature.operators import Dense, Diagonal

BANDS = np.r_[np.linspace(-2, -1, 300), np.linspace(3, 4, 900)]


def broadened(eigenvalues, grid, width):
    distance = (grid[:, None] - eigenvalues[None, :]) / width
    return np.exp(-0.5 * distance**2).mean(axis=1) / (width * (2 * np.pi) ** 0.5)


def test_small_operators_are_exact(operator, symmetric):
    for n in (1, 2, 60):
        eigenvalues = np.linspace(-1, 1, n)
        density = spectral_density(operator(symmetric(eigenvalues)))
        assert (density.method, density.products, density.probes, density.converged) == ("exact", n, 0, True)
        np.testing.assert_allclose(density.density, broadened(eigenvalues, density.grid, density.width), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(density.nodes, eigenvalues, atol=1e-12)
        assert np.trapezoid(density.density, density.grid) == pytest.approx(1.0, abs=1e-5)
        assert density.count().value == n
        assert density.count(0.5, 9).standard_error == 0.0


def test_bands(operator, symmetric):
    matrix = symmetric(BANDS)
    density = spectral_density(operator(matrix), tolerance=0.1, max_products=1000)
    assert density.method == "stochastic Lanczos quadrature"
    assert density.converged
    assert np.trapezoid(density.density, density.grid) == pytest.approx(1.0, abs=1e-4)
    exact = broadened(BANDS, density.grid, density.width)
    assert np.trapezoid(np.abs(density.density - exact), density.grid) < 0.1
    assert density.weights.sum() == pytest.approx(1.0)
    for low, high, expected in ((-3, 0, 300), (0, 5, 900), (-9, 9, 1200), (0, 1, 0)):
        count = density.count(low, high)
        assert abs(count.value - expected) <= 5 * count.standard_error + 1e-6
    assert density.count(-3, 0).standard_error < 30


def test_pointwise_errors_are_honest():
    exact, covered = None, []
    for seed in range(40):
        density = spectral_density(
            Dense(_rotated(BANDS[::6])), width=0.4, grid=np.linspace(-3, 5, 40), seed=seed, max_products=199, tolerance=0.3
        )
        exact = broadened(BANDS[::6], density.grid, 0.4)
        covered.append(np.abs(density.density - exact) <= 2.4 * density.standard_error + 1e-3)
    assert np.mean(covered) > 0.88


def _rotated(eigenvalues):
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((len(eigenvalues), len(eigenvalues))))[0]
    return (basis * eigenvalues) @ basis.T


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_multiples_of_the_identity(value):
    density = spectral_density(Diagonal(np.full(5000, value)))
    assert np.trapezoid(density.density, density.grid) == pytest.approx(1.0, abs=1e-4)
    assert density.grid[np.argmax(density.density)] == pytest.approx(value, abs=density.width)
    assert float(density.count(value - 0.5, value + 0.5)) == pytest.approx(5000)


def test_large_and_matrix_free():
    n = 30_000
    density = spectral_density(Diagonal(np.linspace(0, 1, n)), width=0.05)
    assert density.converged
    assert density.products < 1000
    assert density.size == n
    exact = broadened(np.linspace(0, 1, 2000), density.grid, 0.05)
    assert np.trapezoid(np.abs(density.density - exact), density.grid) < 0.05


def test_float32_and_scale(operator, symmetric):
    matrix = symmetric(BANDS[::4]) * 1e-30
    density = spectral_density(operator(matrix, dtype="float32", symmetric=True), tolerance=0.2, max_products=250)
    assert density.grid[0] < -2e-30 < 4e-30 < density.grid[-1] < 1e-29
    assert np.trapezoid(density.density, density.grid) == pytest.approx(1.0, abs=1e-3)
    assert float(density.count(0, 5e-30)) == pytest.approx(225, rel=0.2)


def test_one_seed_is_one_answer():
    operator = Diagonal(np.linspace(0, 1, 3000))
    first, again, other = (spectral_density(operator, width=0.1, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.density, again.density)
    assert np.any(first.density != other.density)


def test_it_does_not_converge_in_silence():
    density = spectral_density(Diagonal(np.linspace(0, 1, 3000)), width=1e-3, max_products=60)
    assert not density.converged
    assert density.products <= 60


def test_refusals(bare):
    operator = Diagonal(np.linspace(0, 1, 3000))
    for width in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="width"):
            spectral_density(operator, width=width)
    with pytest.raises(ValueError, match="widen it"):
        spectral_density(operator, width=1e-9)
    for grid in ([1.0], [2.0, 1.0], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="grid"):
            spectral_density(operator, grid=grid)
    with pytest.raises(ValueError, match="max_products must be 16"):
        spectral_density(operator, max_products=9)
    with pytest.raises(ValueError, match="no rows"):
        spectral_density(Diagonal(np.zeros(0)))
    with pytest.raises(ValueError, match="from low to high"):
        spectral_density(Diagonal(np.ones(3))).count(2, 1)
    with pytest.raises(cv.NotSymmetricError, match="spectral_density"):
        spectral_density(bare(np.eye(3)))
