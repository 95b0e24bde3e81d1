"""What theory says of low rank: nearest, how far off, from below, exact at full rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature.operators import Dense, LowRank, LowRankPlusDiagonal

DECAY = 10.0 ** -np.linspace(0, 6, 30)


def host(operator):
    return operator.backend.to_numpy(operator.to_dense())


def damped_inverse_error(dense, near, damping):
    n = len(dense)
    return np.linalg.norm(np.linalg.inv(dense + damping * np.eye(n)) - np.linalg.inv(near + damping * np.eye(n)), 2)


@pytest.mark.parametrize("k", [1, 5, 29, 30])
def test_lanczos_is_the_nearest_of_its_rank(with_spectrum, k):
    """Eckart and Young: ‖F - F_k‖₂ = λ_{k+1} and ‖F - F_k‖_F² = Σ_{i>k} λ_i², indefinite matrices included."""
    values = DECAY * (-1.0) ** np.arange(30)
    operator, dense = with_spectrum(values)
    near = cv.approximate(operator, "low-rank", rank=k, solver="lanczos")
    assert type(near) is LowRank
    assert near.rank == k
    left = np.abs(values[k:])
    np.testing.assert_allclose(np.linalg.norm(dense - host(near), 2), np.max(left, initial=0.0), rtol=1e-6, atol=1e-14)
    np.testing.assert_allclose(np.linalg.norm(dense - host(near)), np.linalg.norm(left), rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize("damping", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("k", [2, 7, 20])
def test_the_error_of_the_damped_inverse_is_known_exactly(with_spectrum, k, damping):
    """‖(F + δI)⁻¹ - (F_k + δI)⁻¹‖₂ = λ_{k+1} / (δ (λ_{k+1} + δ))."""
    operator, dense = with_spectrum(DECAY)
    near = cv.approximate(operator, "low-rank", rank=k, solver="lanczos")
    left = DECAY[k]
    inverse = host(near.inverse(damping))
    n = len(dense)
    np.testing.assert_allclose(inverse, np.linalg.inv(host(near) + damping * np.eye(n)), rtol=1e-8, atol=1e-10 / damping)
    error = np.linalg.norm(np.linalg.inv(dense + damping * np.eye(n)) - inverse, 2)
    np.testing.assert_allclose(error, left / (damping * (left + damping)), rtol=1e-5)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), k=st.integers(1, 20), extra=st.integers(0, 6), slope=st.floats(0.05, 0.8))
def test_nystrom_is_positive_and_no_larger_than_the_matrix(seed, k, extra, slope):
    """0 ≤ F_nys ≤ F, hence ‖(F + δI)⁻¹ - (F_nys + δI)⁻¹‖ ≤ e / (δ (e + δ)) with e = ‖F - F_nys‖₂."""
    rng = np.random.default_rng(seed)
    q, values = np.linalg.qr(rng.standard_normal((24, 24)))[0], np.exp(-slope * np.arange(24))
    dense = (q * values) @ q.T
    dense = (dense + dense.T) / 2
    near = host(cv.approximate(Dense(dense), "low-rank", rank=k, oversampling=extra, seed=seed))
    assert np.linalg.eigvalsh(near)[0] > -1e-13
    assert np.linalg.eigvalsh(dense - near)[0] > -1e-12
    assert np.linalg.matrix_rank(near, tol=1e-12) <= k
    damping = 0.01
    e = np.linalg.norm(dense - near, 2)
    assert e >= values[k] * (1 - 1e-9)  # nothing of rank k is nearer
    assert damped_inverse_error(dense, near, damping) <= e / (damping * (e + damping)) * (1 + 1e-9)


@pytest.mark.parametrize(
    "options", [{}, {"rank": 8}, {"rank": 8, "oversampling": 0}, {"solver": "lanczos"}, {"power_iterations": 1}]
)
@pytest.mark.parametrize("name", ["low-rank", "low-rank-plus-diagonal"])
def test_it_is_the_matrix_where_the_rank_suffices(with_spectrum, name, options):
    operator, dense = with_spectrum([*DECAY[:8], *[0.0] * 20])
    near = cv.approximate(operator, name, **options)
    np.testing.assert_allclose(host(near), dense, atol=1e-12)
    if name == "low-rank":
        assert near.rank == 8


@pytest.mark.parametrize("kind", [cv.Fisher, cv.GGN, cv.EmpiricalFisher, cv.MonteCarloFisher])
@pytest.mark.parametrize(
    "options", [{}, {"solver": "lanczos"}, {"rank": 15, "oversampling": 0}, {"rank": 14, "power_iterations": 1}]
)
def test_rank_n_times_r_is_the_fisher(make_problem, kind, options):
    """rank(F) ≤ N · C always: with as many columns it is F, from gradients of each example and from products."""
    matrix = kind(make_problem(5))
    dense = host(matrix)
    near = cv.approximate(matrix, "low-rank", **options)
    assert near.rank <= 15
    assert near.space == matrix.space
    np.testing.assert_allclose(host(near), dense, atol=1e-12 * np.max(np.abs(dense)))


def test_the_diagonal_is_that_of_the_matrix_at_any_rank(make_problem):
    for kind in (cv.Fisher, cv.MonteCarloFisher):
        for batches in (None, (4, 5)):
            matrix = kind(make_problem(9, batches))
            dense = host(matrix)
            for options in ({"rank": 2}, {"rank": 2, "solver": "lanczos"}, {"rank": 5, "power_iterations": 2}):
                near = cv.approximate(matrix, "low-rank-plus-diagonal", **options)
                assert type(near) is LowRankPlusDiagonal
                np.testing.assert_allclose(np.diag(host(near)), np.diag(dense), rtol=1e-9, atol=1e-14)
                np.testing.assert_allclose(float(near.trace()), np.trace(dense), rtol=1e-10)
                assert np.min(matrix.backend.to_numpy(near.entries)) >= 0
                alone = cv.approximate(matrix, "low-rank", **options)
                assert np.linalg.norm(dense - host(near)) < np.linalg.norm(dense - host(alone))


def test_a_hessian_keeps_its_negative_eigenvalues(make_problem):
    matrix = cv.Hessian(make_problem(6))
    dense = host(matrix)
    values = np.linalg.eigvalsh(dense)
    values = values[np.argsort(-np.abs(values))]
    assert values[:6].min() < 0  # the case is worth its name
    near = cv.approximate(matrix, "low-rank", rank=6, solver="lanczos")
    np.testing.assert_allclose(near.backend.to_numpy(near.values), values[:6], rtol=1e-8)
    both = cv.approximate(matrix, "low-rank-plus-diagonal", rank=6, solver="lanczos")
    np.testing.assert_allclose(np.diag(host(both)), np.diag(dense), atol=1e-12)
    assert np.min(near.backend.to_numpy(both.entries)) < 0  # nothing is clipped: the rest of a Hessian may be negative


def test_power_iterations_come_nearer_to_the_best(with_spectrum):
    """With eigenvalues that fall slowly a plain sketch mixes them."""
    operator, dense = with_spectrum(1.0 / (1.0 + np.arange(60.0)))
    errors = [
        np.linalg.norm(dense - host(cv.approximate(operator, "low-rank", rank=5, oversampling=2, power_iterations=q)), 2)
        for q in (0, 1, 4)
    ]
    assert errors[0] > errors[1] > errors[2]
    np.testing.assert_allclose(errors[2], 1 / 6, rtol=0.05)
