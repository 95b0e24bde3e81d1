"""λ at the start, where it is left to the optimiser."""

from __future__ import annotations

import math

import numpy as np
import pytest

import curvature as cv

from .conftest import dense, flat, least_squares, network

BY_ITSELF = cv.LevenbergMarquardt(initial=None)


def first_damping(problem: cv.Problem, rule: cv.LevenbergMarquardt = BY_ITSELF, learning_rate: float | None = 1.0) -> float:
    """λ of the first step with the matrix itself."""
    opt = cv.NaturalGradient("exact", damping=rule, learning_rate=learning_rate)
    return opt.step(problem.params, opt.init(problem))[2].damping


def gains(problem: cv.Problem, dampings: list[float]) -> list[float]:
    """What full steps with each λ gain, by dense matrices."""
    gradient, fisher = flat(problem, problem.gradient()), dense(problem)
    theta, found = flat(problem, problem.params), []
    for damping in dampings:
        step = -np.linalg.solve(fisher + damping * np.eye(len(theta)), gradient)
        moved = problem.space.unravel(problem.xp, problem.backend.asarray(theta + step))
        found.append(float(problem.loss()) - float(problem.at(moved).loss()))
    return found


def scale(problem: cv.Problem) -> float:
    """∇hᵀF∇h / ‖∇h‖²."""
    gradient = flat(problem, problem.gradient())
    return float(gradient @ dense(problem) @ gradient / (gradient @ gradient))


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_smallest_whose_first_step_gains_nearly_as_much_as_the_best(seed):
    generator = np.random.default_rng(seed)
    problem = network(cv.backend("numpy"), generator, cv.Categorical())
    dampings = [scale(problem) * 10.0**-power for power in range(7)]
    gained = gains(problem, dampings)
    near = [damping for damping, gain in zip(dampings, gained, strict=True) if gain >= 0.9 * max(gained)]
    assert first_damping(problem) == pytest.approx(min(near), rel=1e-9)


def test_where_no_first_step_gains_it_is_the_largest():
    """Full steps of 1e3 times the length overshoot with every λ."""
    problem = least_squares(np.random.default_rng(0))
    assert first_damping(problem, learning_rate=1e3) == pytest.approx(scale(problem), rel=1e-9)


def test_it_does_not_begin_below_the_floor_of_its_rule(classification):
    mean = np.trace(dense(classification)) / classification.space.size
    assert first_damping(classification, cv.LevenbergMarquardt(initial=None, floor=1e-9)) == first_damping(classification)
    for floor in (0.5, 3.0, 100.0):
        rule = cv.LevenbergMarquardt(initial=None, floor=floor)
        assert first_damping(classification, rule) >= floor * mean * (1 - 1e-12)
    assert 100.0 * mean > scale(classification)
    assert first_damping(classification, rule) == pytest.approx(100.0 * mean, rel=1e-9)


def test_it_does_not_begin_where_the_numbers_do_not_solve():
    """40 parameters in float32 of which one matters: below 5e-6 of its eigenvalue a solution is rounding."""
    x = np.zeros((2, 40), dtype="float32")
    x[:, 0] = 1.0
    model = cv.Model(lambda p, x: (x @ p)[:, None], np.zeros(40, dtype="float32"))
    problem = cv.Problem(model, cv.Gaussian(), (x, np.ones((2, 1), dtype="float32")))
    with pytest.raises(cv.SingularMatrixError):
        cv.approximate(cv.Fisher(problem), "exact").solve(np.ones(40, dtype="float32"), damping=1e-6 * scale(problem))
    found = first_damping(problem)
    assert math.isfinite(found)
    assert 1e-6 * scale(problem) < found <= scale(problem)
