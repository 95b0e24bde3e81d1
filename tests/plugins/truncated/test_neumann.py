"""The truncated Neumann series: every identity of its error, against dense NumPy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
import curvature_truncated.series
from curvature.operators import Dense
from curvature_truncated.neumann import NeumannSeries

from .conftest import Counted, with_spectrum

SPECTRUM = np.geomspace(0.2, 3.0, 9)
IDENTITY = np.eye(9)


@pytest.fixture(params=["one by one", "doubled"])
def evaluation(request, monkeypatch):
    """Terms taken one by one; or doubled by a dense matrix as soon as that is no dearer."""
    if request.param == "one by one":
        monkeypatch.setattr(curvature_truncated.series, "MAX_DENSE", 0)
    return request.param


def dense(operator):
    return operator.backend.to_numpy(operator.to_dense())


def series(be, matrix, **options):
    return cv.approximate(Dense(be.asarray(matrix)), "neumann", **options)


# Identities of the error ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 5, 9, 10, 23, 64, 200])
def test_the_error_is_the_power_of_the_contraction(be, evaluation, order):
    """F⁻¹ - S_K = (I - aF)^K F⁻¹."""
    matrix, a = with_spectrum(SPECTRUM), 0.6
    found = dense(series(be, matrix, order=order, scale=a).inverse())
    inverse = np.linalg.inv(matrix)
    expected = np.linalg.matrix_power(IDENTITY - a * matrix, order) @ inverse
    np.testing.assert_allclose(inverse - found, expected, rtol=0, atol=1e-12 * np.linalg.norm(inverse))


@pytest.mark.parametrize("order", [1, 3, 17, 40])
@pytest.mark.parametrize("a", [0.1, 0.35, 0.6])
def test_the_relative_spectral_error_is_the_rate_to_the_order(be, evaluation, order, a):
    """‖(F⁻¹ - S_K) F‖₂ = max_i |1 - a λ_i|^K, exactly."""
    matrix = with_spectrum(SPECTRUM)
    found = dense(series(be, matrix, order=order, scale=a).inverse())
    error = np.linalg.norm((np.linalg.inv(matrix) - found) @ matrix, 2)
    np.testing.assert_allclose(error, np.max(np.abs(1 - a * SPECTRUM)) ** order, rtol=1e-9, atol=1e-13)


def test_the_fastest_scale_has_the_rate_of_the_condition_number(be, evaluation):
    """With a = 2/(λ_min + λ_max) the error is ((κ-1)/(κ+1))^K, and no other scale has a smaller one."""
    matrix, order, kappa = with_spectrum(SPECTRUM), 12, SPECTRUM[-1] / SPECTRUM[0]
    best = 2 / (SPECTRUM[0] + SPECTRUM[-1])
    errors = {}
    for factor in (0.8, 0.95, 1.0, 1.05, 1.06):
        found = dense(series(be, matrix, order=order, scale=factor * best).inverse())
        errors[factor] = np.linalg.norm((np.linalg.inv(matrix) - found) @ matrix, 2)
    np.testing.assert_allclose(errors[1.0], ((kappa - 1) / (kappa + 1)) ** order, rtol=1e-10)
    assert min(errors, key=errors.__getitem__) == 1.0


def test_the_scales_that_are_found(be):
    """Three eigenvalues: the Lanczos process finds them all, and the scales are exact."""
    matrix = with_spectrum([0.5, 0.5, 2.0, 2.0, 4.0])
    damping = 0.25
    np.testing.assert_allclose(series(be, matrix, scale="monotone").scale(damping), 1 / 4.25, rtol=1e-12)
    np.testing.assert_allclose(series(be, matrix, scale="fastest").scale(damping), 2 / (0.75 + 4.25), rtol=1e-12)
    np.testing.assert_allclose(series(be, matrix).scale(damping), 2 / (0.75 + 4.25), rtol=1e-12)
    # No smallest eigenvalue below a tenth of the largest is counted on.
    np.testing.assert_allclose(series(be, with_spectrum([0.1, 2.0, 4.0])).scale(), 2 / (0.4 + 4.0), rtol=1e-12)
    np.testing.assert_allclose(series(be, matrix, order=3).scale(damping), 1 / 4.25, rtol=1e-12)
    assert series(be, matrix, scale=0.3).scale(damping) == 0.3


def test_the_monotone_scale_approaches_the_inverse_from_below(be, evaluation):
    """a = 1/λ_max: 0 ≤ S_K ≤ S_{K+1} ≤ F⁻¹ in the order of symmetric matrices."""
    matrix = with_spectrum(SPECTRUM)
    inverse, before = np.linalg.inv(matrix), np.zeros_like(matrix)
    for order in range(1, 12):
        found = dense(series(be, matrix, order=order).inverse())
        np.testing.assert_allclose(found, found.T, atol=1e-13)
        assert np.linalg.eigvalsh(found)[0] > 0
        assert np.linalg.eigvalsh(found - before)[0] > -1e-12
        assert np.linalg.eigvalsh(inverse - found)[0] > -1e-12
        before = found


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7])
def test_steps_of_newton_and_schulz_double_the_terms(be, evaluation, steps):
    """X ← X(2I - FX) from aI is the series of 2^k terms after k steps."""
    matrix, a = with_spectrum(SPECTRUM), 0.5
    iterate = a * IDENTITY
    for _ in range(steps):
        iterate = iterate @ (2 * IDENTITY - matrix @ iterate)
    found = dense(series(be, matrix, order=2**steps, scale=a).inverse())
    np.testing.assert_allclose(found, iterate, rtol=0, atol=1e-12 * np.linalg.norm(iterate))


@settings(max_examples=30, deadline=None)
@given(
    order=st.integers(1, 60),
    eigenvalues=st.lists(st.floats(0.05, 4.0), min_size=1, max_size=8),
    damping=st.sampled_from([0.0, 0.1, 2.0]),
    share=st.floats(0.05, 1.9),
)
def test_any_series_is_the_sum_that_it_is_called(order, eigenvalues, damping, share):
    matrix = with_spectrum(eigenvalues) + damping * np.eye(len(eigenvalues))
    a = share / (max(eigenvalues) + damping)
    expected = a * sum(np.linalg.matrix_power(np.eye(len(eigenvalues)) - a * matrix, k) for k in range(order))
    found = series(cv.backend("numpy"), with_spectrum(eigenvalues), order=order, scale=a).inverse(damping)
    np.testing.assert_allclose(dense(found), expected, rtol=0, atol=1e-11 * np.linalg.norm(expected))


# Automatic orders -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-9, None])
@pytest.mark.parametrize("damping", [0.0, 0.05, 1.0])
def test_an_automatic_order_reaches_the_tolerance(be, evaluation, tolerance, damping):
    matrix, v = with_spectrum(SPECTRUM), np.random.default_rng(1).standard_normal((9, 3)) * np.array([1.0, 1e-8, 1e6])
    damped = matrix + damping * IDENTITY
    solution = be.to_numpy(series(be, matrix, tolerance=tolerance).solve(be.asarray(v), damping=damping))
    expected = np.linalg.solve(damped, v)
    root = np.linalg.cholesky(damped).T
    errors = np.linalg.norm(root @ (solution - expected), axis=0) / np.linalg.norm(root @ expected, axis=0)
    assert np.max(errors) <= (tolerance or 1.0001e-10)


def test_a_coarser_tolerance_takes_fewer_products_and_damping_too(monkeypatch):
    monkeypatch.setattr(curvature_truncated.series, "MAX_DENSE", 0)
    be, matrix = cv.backend("numpy"), with_spectrum(np.geomspace(0.01, 1, 30))
    counts = {}
    for tolerance in (1e-2, 1e-8):
        for damping in (0.01, 0.3):
            counted = Counted(matrix, be)
            cv.approximate(counted, "neumann", tolerance=tolerance).solve(np.ones(30), damping=damping)
            counts[tolerance, damping] = counted.products
    assert counts[1e-2, 0.3] < counts[1e-2, 0.01] < counts[1e-8, 0.01]
    assert counts[1e-8, 0.3] < counts[1e-8, 0.01] / 5


def test_a_small_matrix_is_made_dense_once_that_is_cheaper(be):
    """A condition number of 10⁶ would take millions of products; the same sum takes 2P and a few multiplications."""
    matrix, v = with_spectrum(np.geomspace(1e-6, 1, 20)), np.random.default_rng(2).standard_normal(20)
    counted = Counted(matrix, be)
    operator = cv.approximate(counted, "neumann")
    with pytest.warns(cv.DensifiedWarning, match="20 products or more continues with the dense 20 × 20"):
        solution = be.to_numpy(operator.solve(be.asarray(v)))
    assert counted.products <= 20 + 20 + 20
    expected = np.linalg.solve(matrix, v)
    assert np.linalg.norm(solution - expected) <= 1e-8 * np.linalg.norm(expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cv.approximate(Dense(be.asarray(matrix)), "neumann").solve(be.asarray(v))


def test_an_order_takes_so_many_products_and_no_more(be):
    matrix = with_spectrum(np.geomspace(0.1, 1, 40))
    counted = Counted(matrix, be)
    operator = cv.approximate(counted, "neumann", order=7)
    operator.scale()
    before = counted.products
    operator.solve(be.asarray(np.ones(40)), damping=0.1)
    assert counted.products - before == 6  # the first term needs none, and eigenvalues are measured once


# Preconditioners --------------------------------------------------------------------------------------


def test_one_term_is_exact_where_the_preconditioner_is(be, problem):
    """P = A⁻¹: a = 1 and A⁻¹ = P."""
    fisher = cv.Fisher(problem(be))
    operator = cv.approximate(fisher, "neumann", order=1, preconditioner="exact")
    v, damping = np.random.default_rng(4).standard_normal(fisher.shape[0]), 0.01
    np.testing.assert_allclose(operator.scale(damping), 1.0, rtol=1e-8)
    expected = np.linalg.solve(dense(fisher) + damping * np.eye(v.size), v)
    np.testing.assert_allclose(be.to_numpy(operator.solve(be.asarray(v), damping=damping)), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("preconditioner", ["diagonal", "kfac"])
@pytest.mark.parametrize("order", [1, 4, 11])
def test_the_preconditioned_sum(be, problem, evaluation, preconditioner, order):
    """S_K = a Σ (I - a P A)^k P, which is symmetric."""
    fisher, damping, a = cv.Fisher(problem(be)), 0.02, 0.2
    operator = cv.approximate(fisher, "neumann", order=order, scale=a, preconditioner=preconditioner)
    operator = NeumannSeries(Dense(fisher.to_dense()), operator.near, operator.method)
    matrix = dense(fisher) + damping * np.eye(fisher.shape[0])
    p = np.linalg.inv(dense(cv.approximate(fisher, preconditioner)) + damping * np.eye(fisher.shape[0]))
    expected = a * sum(np.linalg.matrix_power(np.eye(len(p)) - a * p @ matrix, k) for k in range(order)) @ p
    found = dense(operator.inverse(damping))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.linalg.norm(expected))
    np.testing.assert_allclose(found, found.T, rtol=0, atol=1e-11 * np.linalg.norm(expected))


def test_preconditioners_need_fewer_terms(problem, monkeypatch):
    monkeypatch.setattr(curvature_truncated.series, "MAX_DENSE", 0)
    be = cv.backend("numpy")
    task, damping = problem(be, 300, regression=True), 1e-3
    matrix = dense(cv.Fisher(task)) + damping * np.eye(task.space.size)
    v, counts = np.random.default_rng(4).standard_normal(task.space.size), {}
    for preconditioner in (None, "diagonal", "kfac", "exact"):
        fisher = cv.Fisher(task)
        operator = cv.approximate(fisher, "neumann", preconditioner=preconditioner, tolerance=1e-3, max_order=50_000)
        counted = Counted(dense(fisher), be)
        solution = NeumannSeries(counted, operator.near, operator.method).solve(be.asarray(v), damping=damping)
        expected = np.linalg.solve(matrix, v)
        error = solution - expected
        assert error @ matrix @ error <= 1e-6 * expected @ matrix @ expected
        counts[preconditioner] = counted.products
    assert counts["exact"] < 10
    assert max(counts["kfac"], counts["diagonal"]) < counts[None] / 3


def test_a_preconditioner_may_be_a_method_a_class_or_a_name(be, problem):
    fisher = cv.Fisher(problem(be))
    reduced = cv.approximation("kfac", sharing="reduce")
    v = be.asarray(np.ones(fisher.shape[0]))
    for preconditioner in ("kfac", reduced, type(reduced)):
        operator = cv.approximate(fisher, "neumann", preconditioner=preconditioner, order=2)
        assert bool(be.xp.all(be.xp.isfinite(operator.solve(v, damping=0.1))))
    for wrong in (3, object()):
        with pytest.raises(cv.DataError, match="preconditioner is the name of an approximation"):
            cv.approximate(fisher, "neumann", preconditioner=wrong)
    with pytest.raises(cv.UnknownApproximationError, match="kfac"):
        cv.approximate(fisher, "neumann", preconditioner="kfak")


# A warm start -----------------------------------------------------------------------------------------


def test_a_start_near_the_solution_saves_products(monkeypatch):
    monkeypatch.setattr(curvature_truncated.series, "MAX_DENSE", 0)
    be, matrix = cv.backend("numpy"), with_spectrum(np.geomspace(0.05, 1, 30))
    v, counts = np.random.default_rng(0).standard_normal(30), []
    expected = np.linalg.solve(matrix, v)
    for start in (None, expected * (1 + 1e-4), expected):
        counted = Counted(matrix, be)
        operator = cv.approximate(counted, "neumann", tolerance=1e-6)
        operator.scale()
        before = counted.products
        solution = operator.solve_from(v, start)
        assert np.linalg.norm(solution - expected) <= 1e-5 * np.linalg.norm(expected)
        counts.append(counted.products - before)
    assert counts[0] > 1.5 * counts[1] > 1.5 * counts[2]
    assert counts[2] <= 2
