"""Methods that ask for sweeps over the data: what they are sent, what they share, and what is said of numbers gone wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Diagonal


@dataclass(frozen=True)
class Centred(cv.Approximation):
    """A diagonal in two sweeps: the mean of the squared gradients, then the mean of what exceeds it."""

    name: ClassVar[str] = "centred"


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: Centred, backend: cv.Backend):
    first = yield matrix.of_layers(lambda values: values.squared_gradient())
    second = yield matrix.of_layers(lambda values, mean: values.squared_gradient() - mean, extra=first)
    return {"first": first, "second": second}


@cv.build.dispatch
def build(method: Centred, statistics, structure: cv.Structure):
    xp = structure.backend.xp
    parts = [statistics["first"][block.name][:, None] for block in structure.partition.blocks]
    return Diagonal(structure.partition.scatter(xp, parts)[:, 0], space=structure.space)


def linear(params, x):
    return cv.namespace(x).tanh(x @ params["w"]) @ params["v"]


def task(be, data=None, **options):
    rng = np.random.default_rng(0)
    params = {"w": be.asarray(rng.standard_normal((3, 4))), "v": be.asarray(rng.standard_normal((4, 2)))}
    x, y = rng.standard_normal((6, 3)), rng.integers(0, 2, 6)
    whole = (be.asarray(x), be.asarray(y))
    parts = [(whole[0][:2, :], whole[1][:2]), (whole[0][2:, :], whole[1][2:])]
    return cv.Problem(cv.Model(linear, params), cv.Categorical(), parts if data == "parts" else whole, **options)


@pytest.mark.parametrize("data", ["whole", "parts"])
def test_each_sweep_is_answered_by_the_average_over_the_data(be, data):
    fisher = cv.Fisher(task(be, data))
    statistics = cv.estimate(fisher, Centred(), be)
    expected = np.diag(be.to_numpy(fisher.to_dense()))
    operator = cv.approximate(fisher, Centred())
    np.testing.assert_allclose(be.to_numpy(operator.diagonal()), expected, rtol=1e-12)
    for part in statistics["second"].values():
        np.testing.assert_allclose(be.to_numpy(part), 0, atol=1e-14)


def counted(problem):
    """How many times the outputs of a batch are recorded."""
    calls = []
    recorded = problem.recorded
    problem.recorded = lambda batch: calls.append(batch.index) or recorded(batch)
    return calls


@pytest.mark.parametrize(("data", "passes"), [("whole", [0]), ("parts", [0, 1, 0, 1])])
def test_several_methods_share_their_passes(be, data, passes):
    problem = task(be, data)
    problem.structure.layers  # the layers are proven by an evaluation of their own
    calls = counted(problem)
    operators = cv.approximate(cv.Fisher(problem), [Centred(), Centred(), "kfac"])
    asked_for = len(calls)
    assert calls[: len(passes)] == passes
    alone = [cv.approximate(cv.Fisher(task(be, data)), method) for method in (Centred(), Centred(), "kfac")]
    for together, apart in zip(operators, alone, strict=True):
        np.testing.assert_allclose(be.to_numpy(together.to_dense()), be.to_numpy(apart.to_dense()), rtol=1e-12, atol=1e-15)
    assert asked_for <= 2 * len(passes)


def test_what_was_shared_is_let_go(be):
    problem = task(be).at(keep=True)
    cv.approximate(cv.Fisher(problem), [Centred(), Centred()])
    evaluation = problem.evaluate(next(problem.batches()))
    assert evaluation._shared is None
    assert evaluation.requests == 1


def test_options_beside_several_methods_are_refused(be):
    with pytest.raises(cv.DataError, match="give each its own"):
        cv.approximate(cv.Fisher(task(be)), ["kfac", "diagonal"], gamma=1.0)


@dataclass(frozen=True)
class Broken(cv.Approximation):
    """Its statistics overflow in the second batch."""

    name: ClassVar[str] = "broken"


@cv.estimate.dispatch
def _broken(matrix: cv.GaussNewtonMatrix, method: Broken, backend: cv.Backend):
    return (
        yield lambda evaluation: {
            "v": {
                "A": evaluation.outputs[:2, :] / (backend.xp.zeros_like(evaluation.outputs[:2, :]) + 1 - evaluation.batch.index)
            }
        }
    )


def test_numbers_gone_wrong_name_the_statistic_and_the_batch_and_the_old_state_stays(be):
    problem = task(be, "parts")
    with np.errstate(all="ignore"), pytest.raises(cv.DataError, match=r"of batch 1 are NaN or infinite \(v\.A\)"):
        cv.approximate(cv.Fisher(problem), Broken())


def test_an_operator_of_no_problem_has_no_data_to_sweep_over(be):
    with pytest.raises(cv.UnsupportedError, match="'centred' is not defined for a Diagonal"):
        cv.approximate(Diagonal(be.asarray(np.ones(3))), Centred())


def test_a_moving_average(be):
    problem = task(be)
    fisher = cv.Fisher(problem)
    average = cv.MovingAverage(cv.approximation("kfac"), decay=0.5)
    with pytest.raises(cv.DataError, match="no statistics yet"):
        average.operator(problem.structure)
    once = average.update(fisher)
    assert (average.updates, once.updates) == (0, 1)
    elsewhere = problem.at({name: 2 * array for name, array in problem.params.items()})
    twice = once.update(cv.Fisher(elsewhere)).update(fisher)
    first, second = (cv.estimate(cv.Fisher(at), average.method, be) for at in (problem, elsewhere))
    for name in first:
        # Shares 1/2 and 1/2, then decay 1/2 again.
        expected = 0.75 * be.to_numpy(first[name]["G"]) + 0.25 * be.to_numpy(second[name]["G"])
        np.testing.assert_allclose(be.to_numpy(twice.statistics[name]["G"]), expected, rtol=1e-12)
    assert twice.operator(problem.structure).shape == fisher.shape
    with pytest.raises(cv.DataError, match="decay"):
        cv.MovingAverage(average.method, decay=1.0)


def test_a_moving_average_keeps_its_state_where_an_update_fails(be):
    once = cv.MovingAverage(Broken()).update(cv.Fisher(task(be)))
    before = np.array(be.to_numpy(once.statistics["v"]["A"]))
    with np.errstate(all="ignore"), pytest.raises(cv.DataError, match="of batch 1 are NaN or infinite"):
        once.update(cv.Fisher(task(be, "parts")))
    np.testing.assert_array_equal(be.to_numpy(once.statistics["v"]["A"]), before)
    assert once.updates == 1
