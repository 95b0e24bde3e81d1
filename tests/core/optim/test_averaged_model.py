"""``AveragedModel``, the floor of the damping and the ratio of steps that momentum carried: against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

import curvature as cv
from curvature.optim import AveragedModel
from curvature.optim.search import reduction_ratio

from .conftest import least_squares


def run(problem, rule, steps, **options):
    opt = cv.NaturalGradient("kfac", damping=0.5, learning_rate=rule, decay=0.0, **options)
    params, state, infos, at = problem.params, opt.init(problem), [], []
    for _ in range(steps):
        at.append(params)
        params, state, info = opt.step(params, state)
        infos.append(info)
    return at, infos, opt.averaged(state) if state.average is not None else None


def quotient(problem, params, damping):
    """-∇h·Δ / Δᵀ(F + λI)Δ, with the dense matrix."""
    here = problem.at(params)
    g, fisher = np.asarray(here.gradient()), cv.Fisher(here).to_dense()
    method, remaining = cv.approximation("kfac").damped(damping)
    direction = -cv.approximate(cv.Fisher(here), method).solve(g, damping=remaining)
    return -(g @ direction) / (direction @ fisher @ direction + damping * direction @ direction)


def test_the_first_steps_are_those_of_the_quadratic_model(generator):
    problem = least_squares(generator)
    _, greedy, _ = run(problem, AveragedModel(greedy=4, bound=math.inf), 4)
    _, exact, _ = run(problem, cv.QuadraticModel(), 4)
    assert [(i.learning_rate, i.momentum) for i in greedy] == [(i.learning_rate, i.momentum) for i in exact]


def test_the_rate_is_the_moving_average_of_what_the_model_says(generator):
    problem = least_squares(generator)
    rule = AveragedModel(momentum=0.5, share=0.6, horizon=7.0, greedy=0, interval=2, decay=0.75, bound=math.inf)
    at, infos, _ = run(problem, rule, 6)
    average = None
    for step, (params, info) in enumerate(zip(at, infos, strict=True)):
        measured = quotient(problem, params, 0.5)
        if average is None:
            average = measured
        elif step % 2 == 0:
            average = 0.75 * average + 0.25 * measured
        np.testing.assert_allclose(info.learning_rate, 0.6 * average / math.sqrt(1 + step / 7), rtol=1e-9)
        assert info.momentum == (0.5 if step else 0.0)


def test_long_steps_are_made_shorter(generator):
    problem = least_squares(generator)
    at, infos, _ = run(problem, AveragedModel(greedy=0, bound=1e-3), 1)
    here = problem.at(at[0])
    method, remaining = cv.approximation("kfac").damped(0.5)
    direction = cv.approximate(cv.Fisher(here), method).solve(np.asarray(here.gradient()), damping=remaining)
    np.testing.assert_allclose(infos[0].learning_rate ** 2 * (direction @ np.asarray(here.gradient())), 1e-3, rtol=1e-9)


def test_the_average_is_kept_without_being_asked_for(generator):
    problem = least_squares(generator)
    at, _, average = run(problem, AveragedModel(greedy=0), 3)
    last = run(problem, AveragedModel(greedy=0), 4)[0][3]
    np.testing.assert_allclose(average, (at[1] + at[2] + last) / 3, rtol=1e-12)
    assert run(problem, AveragedModel(greedy=0), 3, averaging=0.0)[2] is None
    assert run(problem, cv.QuadraticModel(), 3)[2] is None


def test_the_damping_does_not_fall_below_its_floor(generator):
    """Least squares, short steps: ρ is nearly 1, λ falls as far as it may."""
    problem = least_squares(generator)
    mean = float(np.trace(cv.Fisher(problem).to_dense())) / 3
    for floor, lowest in ((0.25, 0.25 * mean), (0.0, 1e-8)):
        rule = cv.LevenbergMarquardt(1.0, interval=1, factor=0.25, floor=floor)
        opt = cv.NaturalGradient("exact", damping=rule, learning_rate=0.01, l2=0.1)
        params, state = problem.params, opt.init(problem)
        for _ in range(20):
            params, state, _ = opt.step(params, state)
        np.testing.assert_allclose(state.damping, lowest, rtol=1e-9)


@pytest.mark.parametrize(
    ("actual", "predicted", "carried", "ratio"),
    [
        (-1.0, -2.0, False, 0.5),
        (1.0, -2.0, True, -0.5),
        (1.0, 2.0, False, -math.inf),  # the model itself expects it: the damping is too small
        (2.0, 1.0, True, 0.5),  # uphill, more than expected
        (1.0, 2.0, True, 1.0),  # uphill, less than expected
        (-1.0, 2.0, True, 1.0),
        (1.0, 0.0, False, -math.inf),
        (1.0, 0.0, True, 0.0),
    ],
)
def test_the_ratio_is_small_where_the_objective_does_worse_than_the_model(actual, predicted, carried, ratio):
    assert reduction_ratio(actual, predicted, carried=carried) == ratio
