"""Conjugate gradients: several columns, preconditioners, warm starts and rules for stopping."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.linalg import Counted, NystromPreconditioner, conjugate_gradient
from curvature.operators import Dense, Diagonal

N = 80


def test_many_columns_are_as_many_iterations(be, operator, symmetric, generator):
    """Each column as if alone, with one product for all of those that are left."""
    matrix = symmetric(np.logspace(-1, 0, N))
    b = generator.standard_normal((N, 5))
    b[:, 1] = 0
    b[:, 2] = np.linalg.eigh(matrix)[1][:, 3]  # an eigenvector: one iteration
    b[:, 3] *= 1e150
    counted = Counted(operator(matrix))
    found = conjugate_gradient(be.xp, counted._matmat, be.asarray(b), damping=0.01, full=True)
    alone = [
        conjugate_gradient(be.xp, operator(matrix)._matmat, be.asarray(b[:, j : j + 1]), damping=0.01, full=True)
        for j in range(5)
    ]
    sizes = np.asarray([1, 1, 1, 1e150, 1])
    solution = be.to_numpy(found.solution) / sizes
    np.testing.assert_allclose(solution, np.linalg.solve(matrix + 0.01 * np.eye(N), b / sizes), atol=1e-7)
    for j in range(5):
        np.testing.assert_allclose(solution[:, j], be.to_numpy(alone[j].solution)[:, 0] / sizes[j], rtol=1e-6, atol=1e-9)
    assert found.iterations == max(column.iterations for column in alone)
    assert alone[2].iterations == 1
    assert counted.products == sum(column.iterations for column in alone)
    assert found.residual <= 1e-10
    assert found.stopped_by == "tolerance"


def test_the_array_is_what_is_returned_by_default(be, operator):
    b = be.asarray(np.ones((3, 1)))
    assert be.to_numpy(conjugate_gradient(be.xp, operator(np.eye(3))._matmat, b)).shape == (3, 1)
    assert conjugate_gradient(be.xp, operator(np.eye(3))._matmat, b[:, :0]).shape == (3, 0)


def test_distinct_eigenvalues_bound_the_iterations(be, operator, symmetric, generator):
    matrix = symmetric(np.repeat([1.0, 3.0, 10.0, 20.0], N // 4))
    found = conjugate_gradient(be.xp, operator(matrix)._matmat, be.asarray(generator.standard_normal((N, 1))), full=True)
    assert found.iterations == 4


def test_preconditioner(be, operator, symmetric, generator):
    matrix = symmetric(np.logspace(-5, 0, N))
    a, b = operator(matrix), be.asarray(generator.standard_normal((N, 2)))
    plain = conjugate_gradient(be.xp, a._matmat, b, damping=1e-5, tolerance=1e-8, full=True)
    exact = conjugate_gradient(
        be.xp, a._matmat, b, damping=1e-5, tolerance=1e-8, preconditioner=lambda v: a.solve(v, damping=1e-5), full=True
    )
    assert exact.iterations == 1
    assert plain.iterations > 30
    np.testing.assert_allclose(
        be.to_numpy(exact.solution), np.linalg.solve(matrix + 1e-5 * np.eye(N), be.to_numpy(b)), rtol=1e-4, atol=1e-3
    )
    nystrom = NystromPreconditioner.of(a, 50, 1e-5)
    helped = conjugate_gradient(be.xp, a._matmat, b, damping=1e-5, tolerance=1e-8, preconditioner=nystrom, full=True)
    assert helped.iterations < plain.iterations / 2


def test_preconditioner_that_is_not_positive(be, operator):
    b = be.asarray(np.ones((4, 1)))
    for sign in (0.0, -1.0):
        with pytest.raises(cv.NotPositiveDefiniteError, match="preconditioner"):
            conjugate_gradient(be.xp, operator(np.eye(4))._matmat, b, preconditioner=lambda r, sign=sign: r * sign)
    with pytest.raises(cv.DataError, match="preconditioner gave NaN"):
        conjugate_gradient(be.xp, operator(np.eye(4))._matmat, b, preconditioner=lambda r: r * float("nan"))


def test_warm_start(be, operator, symmetric, generator):
    matrix = symmetric(np.logspace(-2, 0, N))
    b = generator.standard_normal((N, 2))
    exact = np.linalg.solve(matrix, b)
    product = operator(matrix)._matmat
    cold = conjugate_gradient(be.xp, product, be.asarray(b), full=True)
    near = be.asarray(exact * (1 + 1e-6 * np.sin(np.arange(N)))[:, None])
    warm = conjugate_gradient(be.xp, product, be.asarray(b), x0=near, full=True)
    there = conjugate_gradient(be.xp, product, be.asarray(b), x0=be.asarray(exact), full=True)
    np.testing.assert_allclose(be.to_numpy(warm.solution), exact, rtol=1e-6, atol=1e-8)
    assert warm.iterations < cold.iterations
    assert there.iterations == 0
    with pytest.raises(cv.DataError, match="x0"):
        conjugate_gradient(be.xp, product, be.asarray(b), x0=be.asarray(b * np.nan))


def test_callback_stops(be, operator, symmetric):
    seen = []

    def stop(iteration, x):
        seen.append((iteration, tuple(x.shape)))
        return iteration == 3

    b = np.ones((N, 2))
    b[:, 1] = 0
    product = operator(symmetric(np.logspace(-3, 0, N)))._matmat
    found = conjugate_gradient(be.xp, product, be.asarray(b), stop=stop, full=True)
    assert seen == [(1, (N, 2)), (2, (N, 2)), (3, (N, 2))]
    assert (found.iterations, found.stopped_by) == (3, "stop")
    assert found.residual > 1e-10


def test_quadratic_progress_is_martens_rule(symmetric, generator):
    """Against the rule as written, evaluated from the iterates themselves."""
    matrix, b = symmetric(np.logspace(-6, 0, 300)), generator.standard_normal((300, 1))
    iterates = [np.zeros((300, 1))]

    def keep(iteration, x):
        iterates.append(x)
        return False

    a = Dense(matrix)
    found = conjugate_gradient(np, a._matmat, b, quadratic_progress=True, stop=keep, full=True)
    assert found.stopped_by == "progress"
    iterates.append(found.solution)
    phi = [(0.5 * x.T @ matrix @ x - b.T @ x)[0, 0] for x in iterates]
    stops = []
    for i in range(len(phi)):
        k = max(10, i // 10)
        stops.append(i > k and phi[i] < 0 and (phi[i] - phi[i - k]) / phi[i] < k * 5e-4)
    assert stops.index(True) == found.iterations
    full = conjugate_gradient(np, a._matmat, b, max_iterations=50, full=True)
    assert full.stopped_by == "max_iterations"


def test_columns_that_stop_by_progress_leave_alone(be, operator, symmetric, generator):
    matrix = symmetric(np.logspace(-1.5, 0, N))
    b = generator.standard_normal((N, 3))
    b[:, 1] = np.linalg.eigh(matrix)[1][:, -1]
    product = operator(matrix)._matmat
    found = conjugate_gradient(be.xp, product, be.asarray(b), quadratic_progress=True, full=True)
    for j in range(3):
        alone = conjugate_gradient(be.xp, product, be.asarray(b[:, j : j + 1]), quadratic_progress=True, full=True)
        np.testing.assert_allclose(be.to_numpy(found.solution)[:, j], be.to_numpy(alone.solution)[:, 0], rtol=1e-7, atol=1e-9)


def test_out_of_iterations(be, operator, symmetric):
    product, b = operator(symmetric(np.logspace(-6, 0, N)))._matmat, be.asarray(np.ones((N, 1)))
    with pytest.raises(cv.ConvergenceError, match=r"relative residual of .* in 5 iterations, not 1e-09"):
        conjugate_gradient(be.xp, product, b, tolerance=1e-9, max_iterations=5)
    found = conjugate_gradient(be.xp, product, b, tolerance=1e-9, max_iterations=5, full=True)
    assert (found.iterations, found.stopped_by) == (5, "max_iterations")
    assert found.residual > 1e-9


def test_not_positive_definite():
    with pytest.raises(cv.NotPositiveDefiniteError, match="curvature -1"):
        conjugate_gradient(np, Diagonal(-np.ones(3))._matmat, np.ones((3, 2)))
    with pytest.raises(cv.DataError, match="product of the operator"):
        conjugate_gradient(np, lambda v: v * np.nan, np.ones((3, 2)))


def test_float32(be, operator, symmetric, generator):
    matrix = symmetric(np.logspace(-2, 0, N))
    b = be.asarray(generator.standard_normal((N, 2)), dtype="float32")
    found = be.to_numpy(conjugate_gradient(be.xp, operator(matrix, dtype="float32")._matmat, b, damping=0.1))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.linalg.solve(matrix + 0.1 * np.eye(N), be.to_numpy(b)), atol=1e-3)
