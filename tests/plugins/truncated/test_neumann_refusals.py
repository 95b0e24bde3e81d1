"""What a Neumann series refuses, and what it says would do."""

from __future__ import annotations

import re

import numpy as np
import pytest

import curvature as cv
import curvature_truncated.neumann
import curvature_truncated.series
from curvature.operators import Dense, Diagonal
from curvature_truncated.neumann import NeumannSeries
from curvature_truncated.spectrum import Extremes

from .conftest import with_spectrum

POSITIVE = np.linspace(1.0, 4.0, 6)


@pytest.fixture(params=["one by one", "doubled"], autouse=True)
def evaluation(request, monkeypatch):
    if request.param == "one by one":
        monkeypatch.setattr(curvature_truncated.series, "MAX_DENSE", 0)


def series(be, matrix, **options):
    return cv.approximate(Dense(be.asarray(matrix)), "neumann", **options)


def ones(be, n=6):
    return be.asarray(np.ones(n))


@pytest.mark.parametrize("order", [1, 50, "auto"])
def test_a_scale_that_diverges_is_refused_with_one_that_converges(be, order):
    matrix = with_spectrum(POSITIVE)
    with pytest.raises(cv.ConvergenceError, match="diverges: the largest eigenvalue") as caught:
        series(be, matrix, order=order, scale=0.6).solve(ones(be))
    said = re.search(
        r"largest eigenvalue of the matrix is (\S+), so ‖I - aA‖ is (\S+); a scale below (\S+) converges, (\S+) does so monoton",
        str(caught.value),
    )
    assert said is not None
    largest, norm, below, monotone = (float(number) for number in said.groups())
    np.testing.assert_allclose([largest, norm, below, monotone], [4.0, 0.6 * 4 - 1, 2 / 4, 1 / 4], rtol=5e-3)
    for scale in (0.99 * below, monotone):
        solution = series(be, matrix, scale=scale).solve(ones(be))
        np.testing.assert_allclose(be.to_numpy(solution), np.linalg.solve(matrix, np.ones(6)), rtol=1e-8)


def test_damping_counts_when_a_scale_is_judged(be):
    operator = series(be, with_spectrum(POSITIVE), scale=0.45, order=3)
    operator.solve(ones(be))
    with pytest.raises(cv.ConvergenceError, match="largest eigenvalue of the matrix is 5"):
        operator.solve(ones(be), damping=1.0)


@pytest.mark.parametrize("order", [4, "auto"])
def test_an_indefinite_matrix_is_refused_with_a_damping_that_would_do(be, order):
    matrix = with_spectrum([-0.5, 0.3, 1.0, 2.0, 2.5, 3.0])
    operator = series(be, matrix, order=order)
    with pytest.raises(cv.NotPositiveDefiniteError, match=r"eigenvalue of -0\.5 or below.*damping above 0\.5 would do"):
        operator.solve(ones(be))
    with pytest.raises(cv.NotPositiveDefiniteError, match=r"damping above 0\.5 would do"):
        operator.solve(ones(be), damping=0.2)
    solution = be.to_numpy(operator.solve(ones(be), damping=0.7))
    if order == "auto":
        np.testing.assert_allclose(solution, np.linalg.solve(matrix + 0.7 * np.eye(6), np.ones(6)), rtol=1e-8)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, cv.NotPositiveDefiniteError, r"diverges after \d+ terms.*a damping above 0\.2\d* would do"),
        ({"order": 40}, cv.ConvergenceError, "40 terms.*residuals have grown by a factor of .* larger damping"),
    ],
)
def test_a_negative_eigenvalue_that_was_overlooked_shows_in_the_residual(be, monkeypatch, options, error, message):
    """The Lanczos process stops once the largest eigenvalue is known: others may not have appeared."""
    monkeypatch.setattr(curvature_truncated.neumann, "extremes", lambda *a, **k: Extremes(0.5, 1.0, 1.0, 8))
    with pytest.raises(error, match=message):
        series(be, with_spectrum([-0.2, 0.5, 1.0]), **options).solve(ones(be, 3))


@pytest.mark.parametrize("order", [40, "auto"])
def test_a_larger_eigenvalue_that_was_overlooked_shows_in_the_residual(be, monkeypatch, order):
    monkeypatch.setattr(curvature_truncated.neumann, "extremes", lambda *a, **k: Extremes(0.5, 1.0, 1.02, 8))
    with pytest.raises(cv.ConvergenceError, match=r"residuals have grown by a factor of .* a smaller scale would do"):
        series(be, with_spectrum([0.3, 0.5, 1.2]), order=order, scale=1.99).solve(ones(be, 3))


def test_singular_matrices_need_infinitely_many_terms(be):
    matrix = with_spectrum([0.0, 0.5, 1.0, 1.5, 2.0, 3.0])
    with pytest.raises(cv.ConvergenceError, match=r"needs .* terms.*tolerance.*max_order=10000.*would do"):
        series(be, matrix).solve(ones(be))
    # In the range of the matrix there is a solution, and the series finds it.
    rhs = matrix @ np.arange(6.0)
    solution = be.to_numpy(series(be, matrix).solve(be.asarray(rhs)))
    np.testing.assert_allclose(solution, np.linalg.pinv(matrix) @ rhs, rtol=1e-7, atol=1e-8)
    # A given number of terms is a regularised inverse, whatever the null space.
    found = be.to_numpy(series(be, matrix, order=5).solve(ones(be)))
    assert np.all(np.isfinite(found))


def test_too_many_terms_are_refused_early_with_the_number_and_a_damping_that_does(monkeypatch):
    monkeypatch.setattr(curvature_truncated.series, "MAX_DENSE", 0)
    be = cv.backend("numpy")
    matrix = with_spectrum(np.geomspace(1e-5, 1, 30))
    operator = series(be, matrix, tolerance=1e-6, max_order=500)
    v = be.asarray(np.random.default_rng(0).standard_normal(30))
    with pytest.raises(cv.ConvergenceError, match=r"needs \S+ terms or more.*max_order=500") as caught:
        operator.solve(v)
    said = re.search(r"a damping of (\S+),", str(caught.value))
    assert said is not None
    damping = float(said.group(1))
    solution = be.to_numpy(operator.solve(v, damping=damping))
    np.testing.assert_allclose(solution, np.linalg.solve(matrix + damping * np.eye(30), v), rtol=1e-4, atol=1e-5)


def test_zero_matrices_and_zero_vectors(be):
    with pytest.raises(cv.SingularMatrixError, match="is zero, and has no inverse; any damping would do"):
        series(be, np.zeros((6, 6))).solve(ones(be))
    np.testing.assert_allclose(be.to_numpy(series(be, np.zeros((6, 6))).solve(ones(be), damping=0.5)), 2.0, rtol=1e-9)
    zeros = series(be, np.eye(6)).solve(be.asarray(np.zeros((6, 2))))
    np.testing.assert_array_equal(be.to_numpy(zeros), np.zeros((6, 2)))
    assert series(be, np.eye(6)).solve(be.asarray(np.zeros((6, 0)))).shape == (6, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_right_hand_sides_that_are_not_finite(be, bad):
    with pytest.raises(cv.DataError, match="right-hand side holds NaN or infinite"):
        series(be, np.eye(6)).solve(be.asarray(np.array([1.0, 2.0, bad, 0.0, 0.0, 0.0])))


def test_products_that_are_not_finite(be):
    operator = NeumannSeries(Diagonal(be.asarray(np.array([1.0, np.nan]))))
    with pytest.raises(cv.DataError, match="product of the matrix with a vector is NaN or infinite"):
        operator.solve(ones(be, 2))


def test_a_preconditioner_that_is_not_positive(be):
    matrix = Dense(be.asarray(with_spectrum(POSITIVE)))
    indefinite = Diagonal(be.asarray(np.array([1.0, -1.0, 1.0, 1.0, 1.0, -2.0])))
    with pytest.raises(cv.NotPositiveDefiniteError, match="preconditioner is not positive definite"):
        NeumannSeries(matrix, indefinite).solve(ones(be))
    singular = Diagonal(be.asarray(np.array([1.0, 0.0, 1.0, 1.0, 1.0, 1.0])))
    with pytest.raises(cv.SingularMatrixError, match="damping"):
        NeumannSeries(matrix, singular).solve(ones(be))
    with pytest.raises(cv.ShapeError, match=r"preconditioner of shape \(2, 2\) for a matrix of shape \(6, 6\)"):
        NeumannSeries(matrix, Diagonal(ones(be, 2)))


def test_matrices_that_are_not_symmetric(be):
    lopsided = Dense(be.asarray(np.arange(9.0).reshape(3, 3)))
    with pytest.raises(cv.NotSymmetricError, match="a truncated inverse is defined for symmetric operators"):
        cv.approximate(lopsided, "neumann")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 0}, "order is 'auto' or the number of terms"),
        ({"order": 2.5}, "order is 'auto' or the number of terms"),
        ({"order": "many"}, "order is 'auto' or the number of terms"),
        ({"scale": 0.0}, "scale is 'auto', 'monotone', 'fastest' or a positive number"),
        ({"scale": "best"}, "scale is 'auto'"),
        ({"scale": float("nan")}, "scale is 'auto'"),
        ({"tolerance": 0.0}, "tolerance lies between 0 and 1"),
        ({"tolerance": 2}, "tolerance lies between 0 and 1"),
        ({"max_order": 0}, "max_order is a positive integer"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(cv.DataError, match=message):
        cv.approximation("neumann", **options)


def test_the_fastest_scale_of_a_singular_matrix(be):
    operator = series(be, with_spectrum([0.0, 0.5, 1.0, 1.5, 2.0, 3.0]), scale="fastest")
    with pytest.raises(cv.SingularMatrixError, match=r"no scale that converges; a damping of .* would do, or scale='auto'"):
        operator.solve(ones(be))
    operator.solve(ones(be), damping=0.1)
