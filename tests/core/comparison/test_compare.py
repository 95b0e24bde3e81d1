"""What may be compared, what is measured besides, and what is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest

import curvature as cv
from curvature.comparison import held_bytes
from curvature.comparison.candidates import label_of
from curvature.operators import Diagonal

from .conftest import make_problem


@pytest.fixture
def fisher(numpy_backend):
    return cv.Fisher(make_problem(numpy_backend))


def test_names_classes_instances_operators_and_labels(fisher):
    kfac = cv.approximation("kfac", sharing="reduce")
    made = cv.approximate(fisher, "diagonal")
    found = cv.compare(fisher, ["kfac", kfac, type(cv.approximation("ekfac")), made], repeats=1)
    assert [row.label for row in found.rows] == ["kfac", "kfac(sharing='reduce')", "ekfac", "diagonal"]
    assert found["kfac"].seconds > 0
    assert found["kfac"].gradients == pytest.approx(found["kfac"].seconds / found.gradient_seconds)
    given = found["diagonal"]
    assert (given.seconds, given.gradients, given.first_solve) == (None, None, None)
    assert given.solve > 0
    assert given.error.value == cv.compare(fisher, "diagonal", repeats=0)["diagonal"].error.value
    labelled = cv.compare(fisher, {"mine": "kfac"}, repeats=0)
    assert [row.label for row in labelled.rows] == ["mine"]
    with pytest.raises(KeyError, match="there are 'mine'"):
        labelled["kfac"]


def test_nothing_is_timed_without_repeats(fisher):
    row = cv.compare(fisher, "kfac", repeats=0)["kfac"]
    assert (row.seconds, row.first_solve, row.solve) == (None, None, None)


def mapped_bytes(operator):
    counted = []
    operator.map_arrays(lambda array: counted.append(operator.backend.to_numpy(array).nbytes) or array, operator.backend)
    return sum(counted)


def test_bytes_are_those_of_the_arrays(be):
    fisher = cv.Fisher(make_problem(be))
    for name in ("diagonal", "kfac", "ekfac", "block-diagonal", "low-rank"):
        operator = cv.approximate(fisher, name)
        assert held_bytes(operator) == mapped_bytes(operator), name
    assert held_bytes(cv.approximate(fisher, "conjugate-gradients")) == 0, "the matrix is not its own"


def test_what_an_operator_keeps_for_later_solves_counts_once_it_is_there(fisher):
    operator = cv.approximate(fisher, "kfac")
    new = held_bytes(operator)
    operator.solve(fisher.problem.gradient(), 0.1)
    assert held_bytes(operator) > new
    assert cv.compare(fisher, "kfac", repeats=1)["kfac"].bytes == new


@dataclass(frozen=True)
class Broken(cv.Approximation):
    name = "broken"


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: Broken, backend: cv.Backend):
    raise ZeroDivisionError("a bug")


def test_a_refusal_is_a_row_and_a_bug_is_an_error(numpy_backend, fisher):
    deep = cv.compare(cv.MonteCarloFisher(fisher.problem), ["kflr", "kfac"], repeats=1)
    assert "kflr" in deep["kflr"].refused
    assert deep["kfac"].error.value is not None
    assert [row.label for row in deep.ranking("error")] == ["kfac"]
    with pytest.raises(cv.DataError, match=r"kflr: 'kflr' propagates"):
        cv.compare(cv.MonteCarloFisher(fisher.problem), ["kflr"]).best()
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cv.compare(fisher, ["kfac", Broken()])


def test_names_are_checked_before_any_work(fisher, monkeypatch):
    monkeypatch.setattr(type(fisher.problem), "gradient", lambda self: pytest.fail("work was done"))
    with pytest.raises(cv.UnknownApproximationError, match=r"did you mean .*'kfac'"):
        cv.compare(fisher, ["diagonal", "kfax"])
    for options in ({"damping": 0.0}, {"damping": float("nan")}, {"probes": 1}, {"examples": 2}, {"repeats": -1}):
        with pytest.raises(cv.DataError, match=next(iter(options))):
            cv.compare(fisher, "kfac", **options)
    with pytest.raises(cv.DataError, match="nothing to compare"):
        cv.compare(fisher, [])
    with pytest.raises(cv.DataError, match="two approximations are called 'kfac'"):
        cv.compare(fisher, ["kfac", "kfac"])
    with pytest.raises(cv.DataError, match="takes a curvature matrix"):
        cv.compare(fisher.problem, "kfac")


def test_operators_that_cannot_stand_for_the_matrix(fisher, numpy_backend):
    with pytest.raises(cv.ShapeError, match="no approximation of a matrix"):
        cv.compare(fisher, [Diagonal(numpy_backend.asarray(np.ones(3)))])
    other = cv.approximate(fisher, "diagonal").to("torch")
    with pytest.raises(cv.MixedBackendError, match="move it"):
        cv.compare(fisher, [other])


def test_an_operator_without_a_problem_needs_a_gradient(numpy_backend):
    operator = Diagonal(numpy_backend.asarray(np.arange(1.0, 5.0)))
    same = {"same": Diagonal(numpy_backend.asarray(np.arange(1.0, 5.0)))}
    with pytest.raises(cv.DataError, match="give one, gradient="):
        cv.compare(operator, same)
    found = cv.compare(operator, same, gradient=numpy_backend.asarray(np.ones(4)), repeats=1)
    assert found["same"].error.value == 0
    assert found.gradient_seconds is None


def test_a_gradient_of_ones_own(fisher, numpy_backend):
    tree = fisher.space.unravel(fisher.xp, numpy_backend.asarray(np.linspace(-1, 1, fisher.shape[0])))
    one, other = (cv.compare(fisher, "kfac", gradient=g, repeats=0)["kfac"].cosine.value for g in (tree, None))
    assert one != other
    zero = cv.compare(fisher, "kfac", gradient=numpy_backend.asarray(np.zeros(fisher.shape[0])), repeats=0)["kfac"]
    assert zero.cosine.reason == "no gradient"


def test_best_and_ranking(fisher):
    found = cv.compare(fisher, ["diagonal", "exact", "kfac"], repeats=0)
    assert found.best().label == found.best("cosine").label == found.best("kl").label == "exact"
    assert found.best("bytes").label == "diagonal"
    errors = [row.error.value for row in found.ranking("error")]
    assert errors == sorted(errors)
    cosines = [row.cosine.value for row in found.ranking("cosine")]
    assert cosines == sorted(cosines, reverse=True)
    with pytest.raises(cv.DataError, match="ranked by error, cosine"):
        found.ranking("effective_dimension")
    with pytest.raises(cv.DataError, match="not measured"):
        found.best("seconds")


def test_progress_tells_of_every_step_and_an_interruption_keeps_the_rows(fisher):
    said = []
    cv.compare(fisher, ["kfac", "diagonal"], repeats=1, progress=lambda done, total, text: said.append((done, total, text)))
    assert [text for _, _, text in said][:3] == ["the matrix", "make kfac", "make diagonal"]
    assert {"time kfac", "time diagonal", "measure kfac", "measure diagonal"} <= {text for _, _, text in said}
    assert all(done < total for done, total, _ in said)

    def stop(done, total, text):
        if text == "measure diagonal":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        cv.compare(fisher, ["kfac", "diagonal"], repeats=0, progress=stop)
    partial = caught.value.partial
    assert [row.label for row in partial.rows] == ["kfac"]
    assert partial.interrupted
    assert "interrupted" in str(partial)


def test_labels_name_the_options_that_are_not_the_defaults():
    assert label_of(cv.approximation("kfac")) == "kfac"
    assert label_of(cv.approximation("kfac", gamma=0.5, damping="exact")) == "kfac(damping='exact', gamma=0.5)"


def test_the_package_and_the_function_share_a_name():
    from curvature.comparison import Comparison

    assert callable(cv.compare)
    assert Comparison is cv.Comparison
    assert re.search(r"½", cv.compare.__doc__)
