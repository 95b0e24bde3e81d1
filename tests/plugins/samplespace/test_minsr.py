"""Natural gradients from one solve on the side of the examples, against the dense solve on the other."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature_samplespace.minsr import natural_gradient, residuals_of

from .conftest import SPLIT, WEIGHTS, centred, dense_rows, flat, unit_weights

OPTIONS = [
    {},
    {"weights": WEIGHTS},
    {"weights": WEIGHTS, "batches": SPLIT, "reduction": "sum"},
    {"likelihood": cv.Gaussian(0.3)},
    {"likelihood": cv.Gaussian(2.0), "batches": SPLIT},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", [cv.Fisher, cv.GGN, cv.EmpiricalFisher])
def test_it_is_the_natural_gradient_of_the_loss(be, tasks, kind, options):
    problem = tasks(be, **options)
    matrix = kind(problem)
    rows, gradient = dense_rows(matrix), flat(problem, problem.gradient())
    expected = np.linalg.solve(rows.T @ rows + 1e-2 * np.eye(64), gradient)
    step = natural_gradient(matrix, damping=1e-2)
    np.testing.assert_allclose(flat(problem, step), expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())
    # The operator agrees, which knows nothing of residuals.
    solved = cv.approximate(matrix, "sample-space").solve(problem.gradient(), damping=1e-2)
    np.testing.assert_allclose(flat(problem, solved), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_residuals_by_hand(be, tasks):
    """(f - y) / σ for a Gaussian, -1 for the empirical Fisher, and Sᵀ g = Sᵀ S e in general."""
    problem = tasks(be, likelihood=cv.Gaussian(0.25))
    batch = problem.data.single
    outputs = be.to_numpy(problem.outputs(problem.params, batch))
    found = be.to_numpy(residuals_of(cv.Fisher(problem)))
    np.testing.assert_allclose(found, (outputs - tasks.targets) / 0.5, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(be.to_numpy(residuals_of(cv.EmpiricalFisher(problem))), -np.ones((6, 1)), rtol=1e-12)
    problem = tasks(be)
    evaluation = problem.evaluate(problem.data.single)
    factor = be.to_numpy(cv.Fisher(problem).factor(evaluation.outputs, evaluation.y, evaluation.batch))
    e = be.to_numpy(residuals_of(cv.Fisher(problem)))
    score = be.to_numpy(problem.likelihood.score(evaluation.outputs, evaluation.y))
    np.testing.assert_allclose(np.einsum("ncr,nr->nc", factor, e), -score, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize(
    "options", [{"likelihood": cv.Gaussian()}, {"likelihood": cv.Gaussian(), "weights": WEIGHTS, "batches": SPLIT}]
)
def test_residuals_of_ones_own(be, tasks, generator, centre, options):
    problem = tasks(be, **options)
    matrix = cv.Fisher(problem)
    rows = centred(problem, dense_rows(matrix)) if centre else dense_rows(matrix)
    e = generator.standard_normal((6, 3))
    epsilon = (unit_weights(problem)[:, None] * e).reshape(-1)
    expected = np.linalg.solve(rows.T @ rows + 0.1 * np.eye(64), rows.T @ epsilon)
    gram = cv.Gram(matrix, centred=centre)
    for given in (e, e.reshape(-1)):
        for source in (matrix, gram):
            step = natural_gradient(source, be.asarray(given), damping=0.1, centred=centre)
            np.testing.assert_allclose(flat(problem, step), expected, rtol=1e-9, atol=1e-11)


def test_without_damping_by_the_pseudo_inverse(be, tasks):
    """An over-parametrised least-squares problem: the shortest step that makes the linearised residual vanish."""
    problem = tasks(be, likelihood=cv.Gaussian())
    matrix = cv.Fisher(problem)
    rows = dense_rows(matrix)
    outputs = be.to_numpy(problem.outputs(problem.params, problem.data.single))
    epsilon = ((outputs - tasks.targets) / 6**0.5).reshape(-1)
    step = flat(problem, natural_gradient(matrix, rcond=1e-10))
    np.testing.assert_allclose(step, np.linalg.pinv(rows) @ epsilon, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(rows @ step, epsilon, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(flat(problem, natural_gradient(matrix)), step, rtol=1e-7, atol=1e-9)
    cut = np.linalg.pinv(rows @ rows.T, rcond=0.05, hermitian=True)
    found = flat(problem, natural_gradient(matrix, rcond=0.05))
    np.testing.assert_allclose(found, rows.T @ (cut @ epsilon), rtol=1e-8, atol=1e-10)


def test_a_singular_gram_matrix_without_damping(be, tasks):
    """Centred rows have a null vector."""
    problem = tasks(be, likelihood=cv.Gaussian())
    with pytest.raises(cv.SingularMatrixError, match="a damping of"):
        natural_gradient(cv.Fisher(problem), centred=True)
    step = natural_gradient(cv.Fisher(problem), centred=True, rcond=1e-9)
    assert np.all(np.isfinite(flat(problem, step)))


def test_a_loss_without_residuals_is_refused(be, tasks):
    with pytest.raises(cv.DataError, match=r"batch 0: .* example \d .* MonteCarloFisher .*curvature.Fisher or curvature.GGN"):
        natural_gradient(cv.MonteCarloFisher(tasks(be), seed=1), damping=0.1)
    # An example that does not count has none to find.
    problem = tasks(be, weights=np.array([0.0, 0, 0, 0, 0, 1.0]))
    with pytest.raises(cv.DataError, match="example 5"):
        natural_gradient(cv.MonteCarloFisher(problem, seed=1), damping=0.1)


def test_bad_input(be, tasks):
    problem = tasks(be, likelihood=cv.Gaussian())
    matrix = cv.Fisher(problem)
    with pytest.raises(
        cv.DataError, match=r"residuals of shape \(6,\) do not fit 6 examples with 3 columns.*\(6, 3\) or \(18,\)"
    ):
        natural_gradient(matrix, be.asarray(np.ones(6)), damping=0.1)
    with pytest.raises(cv.DataError, match="rcond lies in"):
        natural_gradient(matrix, rcond=2.0)
    with pytest.raises(cv.DataError, match=r"curvature.Gram\(curvature.Fisher\(problem\)\)"):
        natural_gradient(cv.Gram(problem), damping=0.1)
    with pytest.raises(ValueError, match="damping must be a finite number"):
        natural_gradient(matrix, damping=-1.0)
