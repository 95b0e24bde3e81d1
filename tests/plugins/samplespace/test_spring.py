"""SPRING against a dense implementation of its recursion."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature_samplespace.minsr import natural_gradient
from curvature_samplespace.spring import SPRING

from .conftest import SPLIT, WEIGHTS, Tasks, centred, dense_rows, flat, unit_weights


def direction(rows, epsilon, previous, method, q):
    """argmin ‖J̃ φ - ε‖² + λ ‖φ - μ φ_prev‖² by the normal equations on the side of the parameters."""
    size, kept = rows.shape[1], method.momentum * previous
    if not method.projection:
        return np.linalg.solve(rows.T @ rows + method.damping * np.eye(size), rows.T @ epsilon + method.damping * kept)
    columns = np.kron(q[:, None], np.eye(len(rows) // len(q)))
    gram = rows @ rows.T + method.damping * np.eye(len(rows)) + method.projection * columns @ columns.T
    return kept + rows.T @ np.linalg.solve(gram, epsilon - rows @ kept)


METHODS = [
    SPRING(damping=0.05, momentum=0.9),
    SPRING(damping=0.05, momentum=0.0),
    SPRING(damping=0.01, momentum=0.99, projection=1.0),
    SPRING(damping=0.05, momentum=0.9, centred=True),
    SPRING(damping=0.05, momentum=0.9, centred=True, projection=1.0),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", [{}, {"weights": WEIGHTS, "batches": SPLIT}])
def test_the_recursion(be, tasks, generator, method, options):
    """Four steps with their own residuals, at moving parameters."""
    problem = tasks(be, likelihood=cv.Gaussian(), **options)
    previous, expected = None, np.zeros(64)
    for _ in range(4):
        matrix, e = cv.Fisher(problem), generator.standard_normal((6, 3))
        rows, q = dense_rows(matrix), unit_weights(problem)
        epsilon = q[:, None] * e
        if method.centred:
            rows, epsilon = centred(problem, rows), epsilon - q[:, None] * (q @ epsilon)
        expected = direction(rows, epsilon.reshape(-1), expected, method, q)
        previous = method.direction(matrix, previous, be.asarray(e))
        np.testing.assert_allclose(flat(problem, previous), expected, rtol=1e-9, atol=1e-10)
        update = method.update(previous, 0.1)
        moved = be.xp.asarray(flat(problem, problem.params) + flat(problem, update))
        problem = problem.at(problem.space.unravel(be.xp, moved))


def test_the_projection_changes_nothing_of_centred_rows(be, tasks):
    problem = tasks(be, likelihood=cv.Gaussian())
    found = [flat(problem, m.direction(cv.Fisher(problem))) for m in METHODS[3:]]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10, atol=1e-12)


def test_the_first_step_is_minsr(be, tasks):
    problem = tasks(be)
    found = SPRING(damping=0.02).direction(cv.Fisher(problem))
    expected = natural_gradient(cv.Fisher(problem), damping=0.02)
    np.testing.assert_allclose(flat(problem, found), flat(problem, expected), rtol=1e-12, atol=1e-14)


def test_what_a_batch_does_not_determine_is_kept(be, tasks):
    """Orthogonally to the rows the direction is μ times the last one."""
    problem = tasks(be, likelihood=cv.Gaussian())
    rows, method = dense_rows(cv.Fisher(problem)), SPRING(damping=1e-3, momentum=0.9)
    last = np.random.default_rng(5).standard_normal(64)
    found = flat(problem, method.direction(cv.Fisher(problem), problem.space.unravel(be.xp, be.asarray(last))))
    outside = np.eye(64) - np.linalg.pinv(rows) @ rows
    np.testing.assert_allclose(outside @ found, 0.9 * outside @ last, rtol=1e-9, atol=1e-11)


def test_the_norm_of_an_update_is_bounded(be, tasks):
    problem = tasks(be)
    phi = SPRING(damping=0.02).direction(cv.Fisher(problem))
    size = np.linalg.norm(flat(problem, phi))
    free = flat(problem, SPRING().update(phi, 0.5))
    np.testing.assert_allclose(free, -0.5 * flat(problem, phi), rtol=1e-14)
    wide = flat(problem, SPRING(norm_constraint=size**2).update(phi, 0.5))
    np.testing.assert_allclose(wide, free, rtol=1e-13)
    short = flat(problem, SPRING(norm_constraint=1e-4).update(phi, 0.5))
    np.testing.assert_allclose(np.linalg.norm(short), 1e-2, rtol=1e-12)
    np.testing.assert_allclose(short / np.linalg.norm(short), free / np.linalg.norm(free), rtol=1e-12)
    still = SPRING(norm_constraint=1e-4).update(problem.space.unravel(be.xp, be.asarray(np.zeros(64))), 0.5)
    np.testing.assert_array_equal(flat(problem, still), np.zeros(64))


def test_it_trains_on_minibatches(be):
    """Two examples at a time: SPRING remembers what minSR forgets."""
    tasks = Tasks(np.random.default_rng(2))
    ends = {}
    for momentum in (0.0, 0.9):
        method, problem, previous = SPRING(damping=1e-2, momentum=momentum), tasks(be, likelihood=cv.Gaussian()), None
        params = problem.params
        for step in range(30):
            rows = SPLIT[step % 3]
            part = problem.at(params, (be.asarray(tasks.x[rows]), be.asarray(tasks.targets[rows])))
            previous = method.direction(cv.Fisher(part), previous)
            update = method.update(previous, 0.3)
            params = {name: params[name] + update[name] for name in params}
        ends[momentum] = float(problem.at(params).loss()) - 1.5 * np.log(2 * np.pi)
    assert ends[0.9] < ends[0.0] < 0.1 * (float(problem.loss()) - 1.5 * np.log(2 * np.pi))


@pytest.mark.parametrize(
    "options", [{"momentum": 1.0}, {"momentum": -0.1}, {"damping": -1.0}, {"projection": float("inf")}, {"norm_constraint": 0.0}]
)
def test_options_are_checked(options):
    with pytest.raises(cv.DataError, match="SPRING: "):
        SPRING(**options)
