"""Estimates against the closed forms: inside of their intervals, in the same order."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import curvature as cv
from curvature.cli.problem_file import load_problem
from curvature.comparison.intervals import mean_of
from curvature.operators import Dense

from .conftest import dense, make_problem

METHODS = ("diagonal", "kfac", "block-diagonal", "low-rank", "exact")


@cache
def both(dtype=None):
    fisher = cv.Fisher(make_problem(cv.backend("numpy"), n=60, widths=(6, 5, 4), dtype=dtype))
    exact = cv.compare(fisher, METHODS, damping=0.01, repeats=0)
    return exact, [cv.compare(fisher, METHODS, damping=0.01, repeats=0, exact=False, seed=seed) for seed in range(6)]


@pytest.mark.parametrize("name", ["error", "cosine", "step_error", "kl", "effective_dimension"])
def test_intervals_hold_the_exact_values(name):
    exact, estimates = both()
    hits = []
    for found in estimates:
        for row in found.rows:
            cell, true = getattr(row, name), exact[row.label].value(name)
            # What is exact in both ways agrees to rounding, and to what the residual of the natural gradient leaves open.
            slack = 1e-6 * (1 + abs(true))
            hits.append(cell.low - slack <= true <= cell.high + slack)
    assert np.mean(hits) >= 0.9
    if name == "kl":
        assert any(not getattr(row, name).is_exact for found in estimates for row in found.rows)


def test_the_matrix_own_dimension_is_estimated_too():
    exact, estimates = both()
    for found in estimates:
        cell = found.effective_dimension
        assert abs(cell.value - exact.effective_dimension.value) < 4 * cell.half_width + 1e-9
        assert 0 < found.residual < 1e-7


def test_all_are_held_against_the_same_probes():
    """Two of the same approximation have the same estimates to the last digit."""
    fisher = cv.Fisher(make_problem(cv.backend("numpy"), n=30))
    found = cv.compare(fisher, {"one": "kfac", "two": "kfac"}, repeats=0, exact=False, damping=0.01)
    assert (found["one"].kl, found["one"].error) == (found["two"].kl, found["two"].error)
    other = cv.compare(fisher, {"one": "kfac"}, repeats=0, exact=False, damping=0.01, seed=1)
    assert other["one"].kl != found["one"].kl


def test_estimates_run_on_every_backend(be):
    fisher = cv.Fisher(make_problem(be, weighted=True, batches=True))
    exact = cv.compare(fisher, ["kfac"], repeats=0, damping=0.02)["kfac"]
    found = cv.compare(fisher, ["kfac"], repeats=0, damping=0.02, exact=False, probes=64)["kfac"]
    np.testing.assert_allclose(found.cosine.value, exact.cosine.value, atol=1e-6)
    assert abs(found.kl.value - exact.kl.value) < 3 * found.kl.half_width


def test_an_indefinite_matrix_is_found_out_by_its_probes(numpy_backend):
    be = numpy_backend
    fisher = cv.Fisher(make_problem(be, n=30))
    bad = Dense(be.asarray(np.diag(np.linspace(-1.0, 1.0, fisher.shape[0]))))
    found = cv.compare(fisher, {"bad": bad}, damping=0.01, repeats=0, exact=False)["bad"]
    assert found.kl.reason == "indefinite"
    hessian = cv.Hessian(make_problem(be))
    assert np.linalg.eigvalsh(dense(hessian))[0] < -1e-3
    found = cv.compare(hessian, "diagonal", damping=1e-6, repeats=0, exact=False)
    assert found["diagonal"].kl.reason == found.effective_dimension.reason == "indefinite"
    assert found["diagonal"].cosine.value is None


def test_the_mean_of_samples_has_students_interval():
    samples = np.random.default_rng(0).standard_normal((2000, 5)) + 3.0
    cells = [mean_of(row) for row in samples]
    covered = np.mean([cell.low <= 3.0 <= cell.high for cell in cells])
    assert 0.93 < covered < 0.97


def test_estimates_rank_approximations_on_digits_as_the_exact_fisher_does():
    """Relative Frobenius error, up to intervals that overlap."""
    pytest.importorskip("sklearn")
    problem = load_problem("digits")
    x, y = problem.data.single.x, problem.data.single.y
    fisher = cv.Fisher(problem.at(data=(x[:150, ...], y[:150])))
    names = ["diagonal", "kfac", "ekfac", "block-diagonal", "low-rank"]
    exact = cv.compare(fisher, names, repeats=0)
    found = cv.compare(fisher, names, repeats=0, exact=False, examples=200)
    order = [row.label for row in exact.ranking("error")]
    assert order[-1] == "diagonal"
    for position, better in enumerate(order):
        for worse in order[position + 1 :]:
            one, other = found[better].error, found[worse].error
            assert one.value <= other.value or one.overlaps(other), f"{better} and {worse}"
    assert found["diagonal"].error.low > found["kfac"].error.high, "the intervals tell something"
