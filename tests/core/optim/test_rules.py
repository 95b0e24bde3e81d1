"""Each rule against its formula, computed with dense matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curvature as cv
from curvature.optim import (
    Drift,
    FactoredDampingSearch,
    FisherNorm,
    Fixed,
    NormConstraint,
    Spring,
)

from .conftest import dense, flat, network


def parabola(be: Any, start: float, *, minimum: float = 0.0) -> cv.Problem:
    """½ (θ - minimum)² and a constant."""
    model = cv.Model(lambda p, x: p, be.asarray(np.array([start])))
    return cv.Problem(model, cv.Gaussian(), (None, be.asarray(np.array([[minimum]]))))


def one_step(problem: cv.Problem, **options: Any) -> tuple[np.ndarray, Any, Any]:
    """(update, state, info) of the first step."""
    opt = cv.NaturalGradient("exact", **options)
    params, state, info = opt.step(problem.params, opt.init(problem))
    return flat(problem, params) - flat(problem, problem.params), state, info


# Damping ---------------------------------------------------------------------------------------------


def test_delayed_gratification_rises_by_little_and_falls_by_much():
    rule = cv.DelayedGratification(1.0, rise=1.5, fall=8.0)
    assert rule.update(1.0, 0.3) == 1 / 8
    assert rule.update(1.0, -math.inf) == 1.5
    assert rule.update(1.0, math.nan) == 1.5
    assert rule.update(rule.minimum, 1.0) == rule.minimum


def test_a_refused_step_is_tried_again_at_once(classification):
    """No step of a rule that retries makes the objective larger, and the damping is that of the first that does not."""
    rule = cv.DelayedGratification(1e-9, rise=3.0, fall=10.0)
    opt = cv.NaturalGradient("exact", damping=rule, learning_rate=8.0)
    params, state = classification.params, opt.init(classification)
    losses, attempts = [], []
    for _ in range(8):
        before = state.damping
        params, state, info = opt.step(params, state)
        losses.append(info.loss)
        attempts.append(info.attempts)
        if info.accepted and before is not None:
            assert info.damping == pytest.approx(before * 3.0 ** (info.attempts - 1), rel=1e-12)
    assert max(attempts) > 1
    assert losses == sorted(losses, reverse=True)
    assert state.damping == pytest.approx(max(info.damping / 10, 0), rel=1e-9)


def test_a_step_that_never_helps_is_given_up_and_says_so(be):
    """At a minimum of |θ|-like curvature nothing can be gained: the parameters stay and the damping is not lost."""
    problem = cv.Problem(
        cv.Model(lambda p, x: p, be.asarray(np.array([2.0]))), cv.Gaussian(), (None, be.asarray(np.array([[2.0]])))
    )
    opt = cv.NaturalGradient("exact", damping=cv.DelayedGratification(1e-3))
    params, state, info = opt.step(problem.params, opt.init(problem))
    assert not info.accepted
    assert state.damping == 1e-3
    np.testing.assert_array_equal(be.to_numpy(params), [2.0])


@pytest.mark.parametrize("scaling", [0.0, 0.5, 1.0])
def test_the_damping_is_scaled_by_a_power_of_the_diagonal(classification, scaling):
    rule = cv.DelayedGratification(10.0, scaling=scaling)
    update, _, _ = one_step(classification, damping=rule, learning_rate=1.0, l2=0.1)
    theta, fisher = flat(classification, classification.params), dense(classification) + 0.1 * np.eye(43)
    gradient = flat(classification, classification.gradient()) + 0.1 * theta
    expected = -np.linalg.solve(fisher + 10.0 * np.diag(np.diag(fisher) ** scaling), gradient)
    np.testing.assert_allclose(update, expected, rtol=1e-8, atol=1e-11)


def test_marquardt_does_not_depend_on_units(be, generator):
    """The same step for a parameter in metres and in nanometres, with scaling 1."""
    x, y = generator.standard_normal((20, 2)), generator.standard_normal((20, 1))
    ends = []
    for units in (np.array([1.0, 1.0]), np.array([1.0, 1e6])):
        scale = be.asarray(units)

        def apply(p, x, scale=scale):
            return cv.namespace(p).tanh(x @ (p * scale))[:, None]

        model = cv.Model(apply, be.asarray(np.array([0.3, -0.2]) / units))
        problem = cv.Problem(model, cv.Gaussian(), (be.asarray(x), be.asarray(y)))
        rule = cv.DelayedGratification(0.1, scaling=1.0)
        params, _, _ = (opt := cv.NaturalGradient("exact", damping=rule)).step(problem.params, opt.init(problem))
        ends.append(be.to_numpy(params) * units)
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-9)


def test_the_search_takes_the_best_of_three_dampings(classification):
    rule = cv.DampingSearch(0.3, factor=4.0)
    update, state, info = one_step(classification, damping=rule, learning_rate=1.0)
    gradient, fisher = flat(classification, classification.gradient()), dense(classification)
    theta, found = flat(classification, classification.params), {}
    for damping in (0.3, 0.3 / 4, 0.3 * 4):
        step = -np.linalg.solve(fisher + damping * np.eye(len(theta)), gradient)
        moved = classification.space.unravel(classification.xp, classification.backend.asarray(theta + step))
        found[damping] = (float(classification.at(moved).loss()), step)
    best = min(found, key=lambda damping: found[damping][0])
    assert info.damping == pytest.approx(best)
    assert state.damping == pytest.approx(best)
    assert info.attempts == 3
    np.testing.assert_allclose(update, found[best][1], rtol=1e-8, atol=1e-10)


@given(st.floats(1e-8, 1e8), st.floats(-5, 5) | st.just(math.inf) | st.just(-math.inf) | st.just(math.nan))
def test_dampings_stay_within_their_bounds(damping, ratio):
    for rule in (cv.LevenbergMarquardt(1.0), cv.DelayedGratification(1.0, minimum=1e-8, maximum=1e8), cv.DampingSearch(1.0)):
        assert rule.minimum <= rule.update(damping, ratio) <= rule.maximum
        refused, taken = rule.update(damping, -math.inf), rule.update(damping, 1.0)
        assert refused >= min(damping, rule.maximum)
        assert taken <= damping


# Learning rates -----------------------------------------------------------------------------------------


def test_the_line_search_doubles_while_it_helps(be):
    """On a parabola whose metric is ten times its Hessian the rate grows to where a doubling no longer helps."""
    problem = cv.Problem(
        cv.Model(lambda p, x: p, be.asarray(np.array([8.0]))), cv.Gaussian(), (None, be.asarray(np.array([[0.0]])))
    )

    class Tenth:
        def value(self, problem):
            return problem.xp.sum(problem.params**2) / 20

        def value_and_gradient(self, problem):
            return self.value(problem), problem.params / 10

    opt = cv.NaturalGradient("exact", damping=1e-12, learning_rate=cv.LineSearch(1.0), objective=Tenth())
    params, state, info = opt.step(problem.params, opt.init(problem))
    assert info.learning_rate == 8.0  # 16 overshoots to -4.8, farther than 1.6
    assert float(params[0]) == pytest.approx(1.6)
    assert state.rate == 8.0
    _, _, info = opt.step(params, state)
    assert info.learning_rate == 8.0


def test_the_line_search_halves_until_it_helps(be):
    problem = cv.Problem(
        cv.Model(lambda p, x: p, be.asarray(np.array([8.0]))), cv.Gaussian(), (None, be.asarray(np.array([[0.0]])))
    )
    opt = cv.NaturalGradient("exact", damping=1e-12, learning_rate=cv.LineSearch(12.0))
    _, _, info = opt.step(problem.params, opt.init(problem))
    assert info.learning_rate == 1.5  # 3 overshoots to -16


# Acceleration -------------------------------------------------------------------------------------------


def test_the_second_derivative_is_that_of_the_outputs(regression):
    from curvature.matrices import second_derivative

    problem, be = regression, regression.backend
    rng = np.random.default_rng(5)
    direction = rng.standard_normal(problem.space.size)
    tree = problem.space.unravel(be.xp, be.asarray(direction))
    batch = problem.data.single
    found = be.to_numpy(second_derivative(problem, batch, tree))
    p = {name: be.to_numpy(value) for name, value in problem.params.items()}
    v = {name: be.to_numpy(value) for name, value in tree.items()}
    x = be.to_numpy(batch.x)
    hidden = np.tanh(x @ p["u"] + p["c"])
    first, slope = x @ v["u"] + v["c"], 1 - hidden**2
    expected = (-2 * hidden * slope * first**2) @ p["w"] + 2 * (slope * first) @ v["w"]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_the_bending_force_is_the_pulled_back_second_derivative(classification):
    from curvature.matrices import second_derivative

    problem, be = classification, classification.backend
    matrix = cv.Fisher(problem)
    tree = problem.gradient()
    second = be.to_numpy(second_derivative(problem, problem.data.single, tree))
    outputs = be.to_numpy(problem.outputs(problem.params, problem.data.single))
    p = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    middle = (p * second - p * (p * second).sum(axis=1, keepdims=True)) / len(outputs)
    jacobian = be.to_numpy(cv.Jacobian(problem).to_dense()).reshape(len(outputs), 3, -1)
    expected = np.einsum("ncp,nc->p", jacobian, middle)
    np.testing.assert_allclose(flat(problem, matrix.bending_force(tree)), expected, rtol=1e-9, atol=1e-12)


def test_an_accelerated_step_bends(regression):
    """δ = v + ½ a where the bound allows it and the objective likes it; v elsewhere."""
    problem = regression
    taken = 0
    for damping in (1e-3, 1e-1, 3.0):
        fisher, gradient = dense(problem), flat(problem, problem.gradient())
        damped = fisher + damping * np.eye(len(gradient))
        v = -np.linalg.solve(damped, gradient)
        tree = problem.space.unravel(problem.xp, problem.backend.asarray(v))
        a = -np.linalg.solve(damped, flat(problem, cv.Fisher(problem).bending_force(tree)))
        update, _, _ = one_step(problem, damping=damping, learning_rate=1.0, acceleration=cv.GeodesicAcceleration(0.75))

        def loss(step):
            theta = flat(problem, problem.params) + step
            return float(problem.at(problem.space.unravel(problem.xp, problem.backend.asarray(theta))).loss())

        bends = 2 * np.linalg.norm(a) <= 0.75 * np.linalg.norm(v) and loss(v + a / 2) < loss(v)
        taken += bends
        np.testing.assert_allclose(update, v + a / 2 if bends else v, rtol=1e-7, atol=1e-9)
    assert taken


def test_a_linear_model_does_not_bend(be, generator):
    x, y = generator.standard_normal((20, 3)), generator.standard_normal((20, 1))
    problem = cv.Problem(
        cv.Model(lambda p, x: x @ p, be.asarray(np.zeros((3, 1)))), cv.Gaussian(), (be.asarray(x), be.asarray(y))
    )
    straight, _, _ = one_step(problem, damping=0.1, learning_rate=1.0)
    bent, _, _ = one_step(problem, damping=0.1, learning_rate=1.0, acceleration=cv.GeodesicAcceleration())
    np.testing.assert_array_equal(straight, bent)


# Momentum, bounds, averages -----------------------------------------------------------------------------


def test_spring_is_that_of_the_sample_space(regression):
    """(F + λI) φ = ∇h + λ μ φ_prev is the regularised projection that ``curvature_samplespace.SPRING`` solves by rows."""
    from curvature_samplespace.spring import SPRING

    problem = regression
    opt = cv.NaturalGradient("exact", damping=0.05, learning_rate=0.3, momentum=Spring(0.9))
    params, state = problem.params, opt.init(problem)
    reference, previous = SPRING(damping=0.05, momentum=0.9), None
    for _ in range(4):
        previous = reference.direction(cv.Fisher(problem.at(params)), previous)
        params, state, _ = opt.step(params, state)
        np.testing.assert_allclose(flat(problem, state.direction), flat(problem, previous), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("bound", [1e-4, 1e-2])
def test_bounds_bind(classification, bound):
    fisher = dense(classification)
    gradient = flat(classification, classification.gradient())
    damped = fisher + 1e-3 * np.eye(len(gradient))
    step, _, _ = one_step(classification, damping=1e-3, learning_rate=1.0, trust_region=cv.KLTrustRegion(bound))
    assert 0.5 * step @ fisher @ step == pytest.approx(bound, rel=1e-8)
    step, _, _ = one_step(classification, damping=1e-3, learning_rate=1.0, trust_region=FisherNorm(bound))
    assert step @ damped @ step == pytest.approx(bound, rel=1e-8)
    step, _, _ = one_step(classification, damping=1e-3, learning_rate=1.0, trust_region=NormConstraint(bound))
    assert step @ step == pytest.approx(bound, rel=1e-8)
    free, _, _ = one_step(classification, damping=1e-3, learning_rate=1.0)
    loose, _, _ = one_step(classification, damping=1e-3, learning_rate=1.0, trust_region=NormConstraint(1e9))
    np.testing.assert_array_equal(free, loose)


def test_weights_decay_apart_from_the_objective(classification):
    plain, _, _ = one_step(classification, damping=0.1, learning_rate=0.5)
    decayed, _, _ = one_step(classification, damping=0.1, learning_rate=0.5, weight_decay=0.2)
    np.testing.assert_allclose(decayed, plain - 0.1 * flat(classification, classification.params), rtol=1e-12, atol=1e-14)


def test_the_average_of_the_parameters(classification):
    opt = cv.NaturalGradient("exact", damping=0.1, learning_rate=0.5, averaging=0.6)
    params, state = classification.params, opt.init(classification)
    with pytest.raises(cv.DataError, match="no average"):
        opt.averaged(state)
    expected = None
    for k in range(1, 6):
        params, state, _ = opt.step(params, state)
        share = min(1 - 1 / k, 0.6)
        now = flat(classification, params)
        expected = now if expected is None else share * expected + (1 - share) * now
        np.testing.assert_allclose(flat(classification, opt.averaged(state)), expected, rtol=1e-12)


# Factored damping, refresh ------------------------------------------------------------------------------


def test_gamma_is_the_one_that_the_quadratic_model_likes(generator):
    problem = network(cv.backend("numpy"), generator, cv.Categorical())
    search = FactoredDampingSearch(interval=2, factor=0.5)
    rate = cv.QuadraticModel(momentum=False)
    opt = cv.NaturalGradient("kfac", damping=0.04, learning_rate=rate, factored_damping=search, decay=0.0)
    params, state = problem.params, opt.init(problem)
    for _ in range(2):
        params, state, _ = opt.step(params, state)
    assert state.gamma == pytest.approx(0.2)
    at = problem.at(params)
    method, gradient, fisher = cv.approximation("kfac"), flat(at, at.gradient()), dense(at)
    damped, models = fisher + 0.04 * np.eye(len(gradient)), {}
    for gamma in (0.2, 0.1, 0.4):
        operator = cv.build(method.damped(gamma**2)[0], cv.estimate(cv.Fisher(at), method, at.backend), at.structure)
        d = -np.asarray(operator.solve(gradient))
        rate = -(gradient @ d) / (d @ damped @ d)
        models[gamma] = rate * (gradient @ d) / 2
    _, state, _ = opt.step(params, state)
    assert state.gamma == pytest.approx(min(models, key=lambda gamma: models[gamma]))


def test_an_operator_is_refreshed_when_its_statistics_have_drifted(generator, monkeypatch):
    from curvature.optim import search

    problem = network(cv.backend("numpy"), generator, cv.Categorical())
    built, count = search.built, [0]

    def counted(*args):
        count[0] += 1
        return built(*args)

    monkeypatch.setattr(search, "built", counted)
    found = {}
    for tolerance in (1e-9, 0.25, 1e9):
        opt = cv.NaturalGradient("kfac", damping=0.1, learning_rate=0.5, refresh_every=Drift(tolerance, at_most=7))
        params, state = problem.params, opt.init(problem)
        count[0] = 0
        for _ in range(15):
            params, state, _ = opt.step(params, state)
        found[tolerance] = count[0]
    assert found[1e-9] == 15
    assert found[1e9] == 3  # at the start, and after seven steps each
    assert 3 < found[0.25] < 15


# Anybody's rules ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Halving:
    """A damping, a learning rate, a bound and a momentum that a stranger wrote."""

    initial: float = 0.8
    interval: int = 1

    def update(self, damping: float, ratio: float) -> float:
        return damping / 2

    def choose(self, along):
        return [0.25]

    def shrink(self, along, coefficients):
        return 0.5

    def right_hand_side(self, gradient, direction, damping):
        return gradient * 3.0


@pytest.mark.parametrize("approximation", ["exact", "kfac", "diagonal", "sample-space", "low-rank"])
def test_a_strangers_rules_work_with_any_approximation(classification, approximation):
    rule = Halving()
    opt = cv.NaturalGradient(approximation, damping=rule, learning_rate=rule, trust_region=rule, momentum=rule)
    plain = cv.NaturalGradient(approximation, damping=0.8, learning_rate=3 * 0.25 * 0.5)
    params, state, info = opt.step(classification.params, opt.init(classification))
    expected, _, _ = plain.step(classification.params, plain.init(classification))
    np.testing.assert_allclose(flat(classification, params), flat(classification, expected), rtol=1e-8, atol=1e-10)
    assert info.damping == 0.8
    assert state.damping == 0.4


# What is chosen -----------------------------------------------------------------------------------------


def test_what_is_left_to_it_suits_the_problem(generator):
    be = cv.backend("numpy")
    small = network(be, generator, cv.Categorical())
    plan = cv.optim.choose(cv.NaturalGradient().options, small, minibatch=0)
    assert (plan.method.name, plan.fisher, plan.decay) == ("exact", "exact", 0.0)
    assert isinstance(plan.damping, cv.DelayedGratification)
    assert plan.learning_rate == Fixed(1.0)
    assert plan.acceleration is not None
    plan = cv.optim.choose(cv.NaturalGradient().options, small, minibatch=8)
    assert (plan.method.name, plan.decay) == ("kfac", 0.95)
    assert isinstance(plan.damping, cv.LevenbergMarquardt)
    assert (plan.learning_rate, plan.damping.floor) == (cv.optim.SmoothedModel(), 0.1)
    many = network(be, generator, cv.Categorical(), outputs=40)
    assert cv.optim.choose(cv.NaturalGradient().options, many, minibatch=8).fisher == "monte-carlo"
    wide = cv.Problem(
        cv.Model(lambda p, x: x @ p, np.zeros((100, 600))), cv.Gaussian(), (np.ones((600, 100)), np.ones((600, 600)))
    )
    plan = cv.optim.choose(cv.NaturalGradient().options, wide, minibatch=600)
    assert (plan.refresh.steps, plan.statistics_every, plan.statistics_share, plan.model_share) == (10, 5, 0.125, 0.5)
    assert plan.learning_rate == cv.optim.AveragedModel()
    assert (plan.damping.floor, plan.averaging) == (0.004, 0.98)
    assert cv.optim.choose(cv.NaturalGradient(averaging=0.0).options, wide, minibatch=600).averaging == 0.0
    plan = cv.optim.choose(cv.NaturalGradient().options, wide, minibatch=500)
    assert (plan.refresh.steps, plan.statistics_every, plan.learning_rate) == (10, 1, cv.optim.SmoothedModel())
    assert cv.optim.choose(cv.NaturalGradient(refresh_every=2).options, wide, minibatch=600).refresh.steps == 2
    given = cv.NaturalGradient("diagonal", damping=0.1, learning_rate=0.2).options
    plan = cv.optim.choose(given, small, minibatch=0)
    assert (plan.method.name, plan.learning_rate, plan.acceleration) == ("diagonal", Fixed(0.2), None)
    assert plan.damping.initial == 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": Spring}, "momentum lies in"),
        ({"acceleration": 1.0}, r"acceleration is GeodesicAcceleration\(\) or None"),
        ({"factored_damping": 1.0}, r"factored_damping is FactoredDampingSearch\(\) or None"),
        ({"objective": 1.0}, r"an objective has the methods value\(problem\)"),
        ({"averaging": 1.0}, r"averaging lies in \[0, 1\)"),
        ({"weight_decay": -1.0}, "weight_decay lies in"),
        ({"refresh_every": Drift}, "refresh_every is a positive integer or a rule"),
        ({"trust_region": math.inf}, "trust_region is a positive bound"),
    ],
)
def test_rules_are_checked(options, message):
    with pytest.raises(cv.DataError, match=message):
        cv.NaturalGradient("kfac", **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Spring(1.0),
        lambda: cv.optim.AveragedModel(momentum=1.0),
        lambda: cv.optim.AveragedModel(share=0.0),
        lambda: cv.optim.AveragedModel(greedy=-1),
        lambda: cv.optim.SmoothedModel(decay=1.0),
        lambda: cv.optim.SmoothedModel(limit=-0.1),
        lambda: cv.optim.SmoothedModel(least=0.0),
        lambda: cv.optim.SmoothedModel(adaptation=-1.0),
        lambda: cv.optim.SmoothedModel(warm=-1),
        lambda: cv.LevenbergMarquardt(floor=-1.0),
        lambda: cv.DelayedGratification(rise=1.0),
        lambda: cv.DelayedGratification(-1.0),
        lambda: cv.DampingSearch(factor=1.0),
        lambda: cv.GeodesicAcceleration(0.0),
        lambda: FactoredDampingSearch(interval=0),
        lambda: Drift(0.0),
        lambda: FisherNorm(-1.0),
    ],
)
def test_rules_check_their_numbers(make):
    with pytest.raises(cv.DataError):
        make()
