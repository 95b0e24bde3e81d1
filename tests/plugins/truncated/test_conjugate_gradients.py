"""Truncated conjugate gradients: what theory says of each iterate, and when it stops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature.operators import Dense, Diagonal
from curvature_truncated.conjugate_gradients import TruncatedConjugateGradients

from .conftest import Counted, with_spectrum


def solver(be, matrix, **options):
    return cv.approximate(Dense(be.asarray(matrix)), "conjugate-gradients", **options)


def model(matrix, v, x):
    """φ(x) = ½ xᵀAx - vᵀx."""
    return 0.5 * x @ matrix @ x - v @ x


def energy(matrix, x):
    """‖x‖_A."""
    return (x @ matrix @ x) ** 0.5


# Convergence ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distinct", [1, 2, 3, 5])
def test_exact_after_as_many_steps_as_there_are_distinct_eigenvalues(be, generator, distinct):
    values = np.repeat(np.linspace(0.5, 8.0, distinct), 5)
    matrix, v = with_spectrum(values), generator.standard_normal(values.size)
    expected = np.linalg.solve(matrix, v)
    errors = []
    for iterations in range(1, distinct + 1):
        x = be.to_numpy(solver(be, matrix, iterations=iterations, tolerance=0.0).solve(be.asarray(v)))
        errors.append(energy(matrix, x - expected) / energy(matrix, expected))
    assert errors[-1] < 1e-12
    assert min(errors[:-1], default=1.0) > 1e-3


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.floats(0.01, 10.0), min_size=2, max_size=12),
    iterations=st.integers(1, 12),
    damping=st.sampled_from([0.0, 0.1, 1.0]),
    seed=st.integers(0, 100),
)
def test_the_bound_by_the_condition_number(values, iterations, damping, seed):
    """‖x_K - x‖_A ≤ 2 ((√κ - 1)/(√κ + 1))^K ‖x‖_A."""
    n = len(values)
    matrix, v = with_spectrum(values, seed), np.random.default_rng(seed).standard_normal(n)
    damped = matrix + damping * np.eye(n)
    operator = solver(cv.backend("numpy"), matrix, iterations=iterations)
    expected = np.linalg.solve(damped, v)
    error = energy(damped, operator.solve(v, damping=damping) - expected)
    root = ((max(values) + damping) / (min(values) + damping)) ** 0.5
    assert error <= 2 * ((root - 1) / (root + 1)) ** iterations * energy(damped, expected) * (1 + 1e-9) + 1e-9


def test_every_iterate_is_a_descent_direction_and_lowers_the_quadratic(be, generator):
    """The gradient of φ at zero is -v: vᵀx > 0, and φ falls with each step."""
    matrix, v = with_spectrum(np.geomspace(1e-3, 10, 25)), generator.standard_normal(25)
    before = 0.0
    for iterations in range(1, 20):
        x = be.to_numpy(solver(be, matrix, iterations=iterations, tolerance=0.0).solve(be.asarray(v)))
        assert v @ x > 0
        assert model(matrix, v, x) < before
        before = model(matrix, v, x)


def test_an_iterate_minimises_the_quadratic_over_its_krylov_space(be, generator):
    matrix, v, k = with_spectrum(np.geomspace(0.1, 5, 15)), generator.standard_normal(15), 4
    basis, _ = np.linalg.qr(np.stack([np.linalg.matrix_power(matrix, i) @ v for i in range(k)], axis=1))
    expected = basis @ np.linalg.solve(basis.T @ matrix @ basis, basis.T @ v)
    found = be.to_numpy(solver(be, matrix, iterations=k).solve(be.asarray(v)))
    np.testing.assert_allclose(found, expected, rtol=1e-8)


# When it stops ----------------------------------------------------------------------------------------


def test_iterations_are_counted(be):
    counted = Counted(with_spectrum(np.geomspace(1e-4, 1, 60)), be)
    operator = cv.approximate(counted, "conjugate-gradients", iterations=7)
    operator.solve(be.asarray(np.ones(60)))
    assert counted.products == 7


def test_to_the_tolerance_where_no_number_is_given(be, generator):
    matrix, v = with_spectrum(np.geomspace(1e-3, 1, 30)), generator.standard_normal((30, 2))
    for tolerance in (1e-2, 1e-6, None):
        x = be.to_numpy(solver(be, matrix, tolerance=tolerance).solve(be.asarray(v)))
        residuals = np.linalg.norm(v - matrix @ x, axis=0) / np.linalg.norm(v, axis=0)
        assert np.max(residuals) <= (tolerance or 1e-10) * (1 + 1e-3)


def test_not_to_reach_the_tolerance_is_an_error_only_where_no_number_is_given(be, generator):
    matrix, v = with_spectrum(np.geomspace(1e-13, 1, 40)), be.asarray(generator.standard_normal(40))
    with pytest.raises(cv.ConvergenceError, match="larger damping"):
        solver(be, matrix, tolerance=1e-15).solve(v)
    solver(be, matrix, tolerance=1e-15, iterations=40).solve(v)


def test_it_stops_on_the_relative_progress_of_the_quadratic_model(be, generator):
    """By the rule of Martens, followed here along the iterates one by one."""
    matrix = with_spectrum(np.geomspace(1e-5, 1, 150))
    v = matrix @ generator.standard_normal(150)
    counted = Counted(matrix, be)
    x = be.to_numpy(cv.approximate(counted, "conjugate-gradients", stop="progress").solve(be.asarray(v)))
    iterates = [np.zeros(150)]
    for i in range(1, 150):
        iterates.append(solver(cv.backend("numpy"), matrix, iterations=i, tolerance=0.0).solve(v))
        k = max(10, i // 10)
        if i > k:
            now, earlier = model(matrix, v, iterates[i]), model(matrix, v, iterates[i - k])
            if now < 0 and (now - earlier) / now < k * 5e-4:
                break
    assert counted.products == i
    assert 11 < i < 140
    np.testing.assert_allclose(x, iterates[i], rtol=1e-6)
    # Far from solved by the residual.
    assert np.linalg.norm(v - matrix @ x) > 1e-4 * np.linalg.norm(v)


# Starts -----------------------------------------------------------------------------------------------


def test_a_warm_start_saves_iterations(be, generator):
    matrix, v = with_spectrum(np.geomspace(1e-3, 1, 60)), generator.standard_normal(60)
    solution = np.linalg.solve(matrix, v)
    nearby = solution + 1e-3 * generator.standard_normal(60)
    counts = {}
    for label, start, decay in (("cold", None, 1.0), ("decayed", nearby, 0.95), ("warm", nearby, 1.0), ("ignored", nearby, 0)):
        counted = Counted(matrix, be)
        operator = cv.approximate(counted, "conjugate-gradients", tolerance=1e-4, decay=decay)
        x = be.to_numpy(operator.solve_from(be.asarray(v), None if start is None else be.asarray(start)))
        assert np.linalg.norm(v - matrix @ x) <= 1.001e-4 * np.linalg.norm(v)
        counts[label] = counted.products
    assert counts["warm"] < counts["decayed"] < counts["cold"] == counts["ignored"]


def test_the_start_is_what_is_said(be, generator):
    """decay · initial is where it starts: from the solution itself nothing is left to do."""
    matrix, v = with_spectrum(np.geomspace(0.1, 1, 10)), generator.standard_normal(10)
    start = be.asarray(np.linalg.solve(matrix + 0.2 * np.eye(10), v) / 0.95)
    counted = Counted(matrix, be)
    operator = cv.approximate(counted, "conjugate-gradients")
    np.testing.assert_allclose(be.to_numpy(operator.solve_from(be.asarray(v), start, damping=0.2)), 0.95 * be.to_numpy(start))
    assert counted.products == 1


def test_warm_starts_along_a_path_of_training(problem):
    """Successive natural gradients of one model: each solution starts the next."""
    be = cv.backend("numpy")
    task, counts = problem(be, 60), {}
    for warm in (False, True):
        params, last, total = task.params, None, 0
        for _ in range(6):
            here = task.at(params)
            counted = Counted(here.backend.to_numpy(cv.Fisher(here).to_dense()), be)
            operator = cv.approximate(counted, "conjugate-gradients", tolerance=1e-5)
            gradient = here.space.ravel(be.xp, here.gradient())
            last = operator.solve_from(gradient, last if warm else None, damping=0.01)
            moved = be.to_numpy(here.space.ravel(be.xp, params)) - 0.02 * be.to_numpy(last)
            params, total = here.space.unravel(be.xp, be.asarray(moved)), total + counted.products
        counts[warm] = total
    assert counts[True] < counts[False]


# Preconditioners --------------------------------------------------------------------------------------


def test_preconditioners_save_iterations(be, problem):
    task, damping, counts = problem(be, 300, regression=True), 1e-3, {}
    matrix = be.to_numpy(cv.Fisher(task).to_dense())
    v = np.random.default_rng(4).standard_normal(len(matrix))
    expected = np.linalg.solve(matrix + damping * np.eye(len(matrix)), v)
    for preconditioner in (None, "diagonal", "kfac", "exact"):
        near = cv.approximate(cv.Fisher(task), "conjugate-gradients", preconditioner=preconditioner).near
        counted = Counted(matrix, be)
        x = be.to_numpy(TruncatedConjugateGradients(counted, near).solve(be.asarray(v), damping=damping))
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-6 * np.max(np.abs(expected)))
        counts[preconditioner] = counted.products
    assert counts["exact"] <= 2
    assert counts["kfac"] < counts["diagonal"] < counts[None]


def test_a_few_iterations_with_kfac_are_nearer_than_kfac_alone(problem):
    """The natural gradient of a network, its cosine and error in the norm of the matrix, against the dense solve."""
    be = cv.backend("numpy")
    fisher, damping = cv.Fisher(problem(be, 300, regression=True)), 1e-2
    matrix = fisher.to_dense() + damping * np.eye(fisher.shape[0])
    gradient = fisher.problem.space.ravel(np, fisher.problem.gradient())
    expected = np.linalg.solve(matrix, gradient)

    def error(operator):
        return energy(matrix, operator.solve(gradient, damping=damping) - expected) / energy(matrix, expected)

    errors = [error(cv.approximate(fisher, "kfac"))]
    for iterations in (1, 3, 6, 12):
        errors.append(error(cv.approximate(fisher, "conjugate-gradients", iterations=iterations, preconditioner="kfac")))
        assert errors[-1] < errors[-2]
    assert errors[-1] < 0.1 * errors[0]


# Negative curvature -----------------------------------------------------------------------------------


def test_negative_curvature_is_refused_or_ends_it(be, generator):
    matrix = with_spectrum([-1.0, *np.linspace(0.5, 3, 9)])
    v = generator.standard_normal(10)
    with pytest.raises(cv.NotPositiveDefiniteError, match=r"curvature -.* not positive definite; a larger damping"):
        solver(be, matrix).solve(be.asarray(v))
    operator = solver(be, matrix, on_negative_curvature="stop")
    found = be.to_numpy(operator.solve(be.asarray(v)))
    # The last iterate before that direction, which is one of the plain iteration's and of descent.
    plain = []
    for iterations in range(1, 11):
        try:
            plain.append(be.to_numpy(solver(be, matrix, iterations=iterations).solve(be.asarray(v))))
        except cv.NotPositiveDefiniteError:
            break
    assert 0 < len(plain) < 10
    np.testing.assert_allclose(found, plain[-1], rtol=1e-12)
    assert v @ found > 0
    # Damped enough it is solved.
    np.testing.assert_allclose(
        be.to_numpy(operator.solve(be.asarray(v), damping=1.5)), np.linalg.solve(matrix + 1.5 * np.eye(10), v), rtol=1e-7
    )


def test_negative_curvature_at_once_gives_steepest_descent(be):
    v = np.array([1.0, 2.0, -1.0])
    operator = solver(be, -np.eye(3), on_negative_curvature="stop")
    np.testing.assert_allclose(be.to_numpy(operator.solve(be.asarray(v))), v)
    several = np.stack([v, np.zeros(3), 2 * v], axis=1)
    np.testing.assert_allclose(be.to_numpy(operator.solve(be.asarray(several))), several)
    weights = np.array([1.0, 2.0, 4.0])
    near = Diagonal(be.asarray(weights))
    preconditioned = TruncatedConjugateGradients(operator.matrix, near, operator.method)
    np.testing.assert_allclose(be.to_numpy(preconditioned.solve(be.asarray(v))), v / weights)


def test_a_preconditioner_that_is_not_positive(be):
    indefinite = Diagonal(be.asarray(np.array([1.0, -2.0])))
    for option in ("raise", "stop"):
        method = cv.approximation("conjugate-gradients", on_negative_curvature=option)
        operator = TruncatedConjugateGradients(Diagonal(be.asarray(np.array([1.0, 1.0]))), indefinite, method)
        with pytest.raises(cv.NotPositiveDefiniteError, match="preconditioner of conjugate gradients is not positive"):
            operator.solve(be.asarray(np.ones(2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 0}, "iterations is a positive integer or None"),
        ({"iterations": True}, "iterations is a positive integer or None"),
        ({"tolerance": 1.0}, r"tolerance lies in \[0, 1\)"),
        ({"tolerance": 0.0}, "a tolerance of 0 is never reached"),
        ({"stop": "never"}, "stop is 'residual' or 'progress'"),
        ({"decay": 1.5}, r"decay lies in \[0, 1\]"),
        ({"on_negative_curvature": "ignore"}, "on_negative_curvature is 'raise' or 'stop'"),
        ({"preconditioner": 7}, "preconditioner is the name of an approximation"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(cv.DataError, match=message):
        cv.approximation("conjugate-gradients", **options)
