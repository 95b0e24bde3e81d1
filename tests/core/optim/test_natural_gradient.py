"""Natural gradient: one-step optima, exact trust regions, the schedule, the damping rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

import curvature as cv
from curvature.optim import Adam, GradientDescent


def affine(p, x):
    return x @ p["w"] + p["b"]


def regression(be, rng, n=20):
    x, w = rng.standard_normal((n, 3)), rng.standard_normal((3, 2))
    params = {"w": be.asarray(np.zeros((3, 2))), "b": be.asarray(np.zeros(2))}
    y = x @ w + 0.1 * rng.standard_normal((n, 2))
    return cv.Problem(cv.Model(affine, params), cv.Gaussian(0.3), (be.asarray(x), be.asarray(y)))


def tanh_network(p, x):
    return cv.namespace(x).tanh(x @ p["u"] + p["c"]) @ p["w"] + p["b"]


def classification(be, rng, n=30):
    params = {"u": rng.standard_normal((4, 5)), "c": np.zeros(5), "w": rng.standard_normal((5, 3)), "b": np.zeros(3)}
    x = rng.standard_normal((n, 4))
    y = np.argmax(x @ rng.standard_normal((4, 3)), axis=1)
    model = cv.Model(tanh_network, {name: be.asarray(value) for name, value in params.items()})
    return cv.Problem(model, cv.Categorical(), (be.asarray(x), be.asarray(y)))


@pytest.mark.parametrize("approximation", ["exact", "kfac"])
def test_one_undamped_step_solves_linear_regression(be, generator, approximation):
    """MATH §1.3: in a linear-Gaussian model a step of length one lands on the optimum; K-FAC is exact there."""
    problem = regression(be, generator)
    opt = cv.NaturalGradient(approximation, damping=0.0, learning_rate=1.0)
    params, _, _ = opt.step(problem.params, opt.init(problem))
    x, y = (be.to_numpy(a) for a in (problem.data.single.x, problem.data.single.y))
    design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    optimum = np.linalg.lstsq(design, y, rcond=None)[0]
    np.testing.assert_allclose(be.to_numpy(params["w"]), optimum[:-1], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(be.to_numpy(params["b"]), optimum[-1], rtol=1e-9, atol=1e-11)


def test_a_step_is_minus_the_damped_inverse_times_the_gradient(be, generator):
    problem = classification(be, generator)
    opt = cv.NaturalGradient("exact", damping=0.05, l2=0.02, learning_rate=0.7)
    params, _, info = opt.step(problem.params, opt.init(problem))
    theta = be.to_numpy(problem.space.ravel(be.xp, problem.params))
    gradient = be.to_numpy(problem.space.ravel(be.xp, problem.gradient())) + 0.02 * theta
    fisher = be.to_numpy(cv.Fisher(problem).to_dense())
    expected = theta - 0.7 * np.linalg.solve(fisher + 0.07 * np.eye(len(theta)), gradient)
    np.testing.assert_allclose(be.to_numpy(problem.space.ravel(be.xp, params)), expected, rtol=1e-9, atol=1e-11)
    assert info.loss == pytest.approx(float(problem.loss()) + 0.01 * theta @ theta, rel=1e-12)


def test_a_trust_region_bounds_half_the_squared_fisher_norm(be, generator):
    """MATH §1.3 (iv): ½ δᵀ F δ equals the bound where it binds."""
    problem = classification(be, generator)
    for bound in (1e-4, 1e-2):
        opt = cv.NaturalGradient("exact", damping=1e-3, learning_rate=1.0, trust_region=bound)
        params, _, _ = opt.step(problem.params, opt.init(problem))
        step = be.to_numpy(problem.space.ravel(be.xp, params)) - be.to_numpy(problem.space.ravel(be.xp, problem.params))
        assert 0.5 * step @ be.to_numpy(cv.Fisher(problem).to_dense()) @ step == pytest.approx(bound, rel=1e-9)


def test_the_quadratic_model_minimises_over_direction_and_previous_update(generator):
    problem = classification(cv.backend("numpy"), generator)
    opt = cv.NaturalGradient("kfac", damping=0.1, l2=0.01, learning_rate=cv.QuadraticModel())
    params, state, _ = opt.step(problem.params, opt.init(problem))
    previous = problem.space.ravel(np, state.velocity)
    at = problem.at(params)
    theta = problem.space.ravel(np, params)
    after, state, info = opt.step(params, state)
    update = problem.space.ravel(np, after) - theta
    gradient = problem.space.ravel(np, at.gradient()) + 0.01 * theta
    matrix = cv.Fisher(at).to_dense() + 0.11 * np.eye(len(theta))
    # At the minimum the model's gradient is orthogonal to both directions.
    residual = gradient + matrix @ update
    direction = (update - info.momentum * previous) / info.learning_rate
    for d in (direction, previous):
        assert abs(residual @ d) < 1e-9 * np.linalg.norm(gradient) * np.linalg.norm(d)
    # M(δ) - M(0) = ½ ∇h·δ there (MATH §1.7).
    assert info.predicted == pytest.approx(0.5 * gradient @ update, rel=1e-8)


@pytest.mark.parametrize("approximation", ["diagonal", "kfac", "exact"])
@pytest.mark.parametrize("fisher", ["exact", "monte-carlo", "empirical", "ggn"])
def test_every_combination_trains(be, generator, approximation, fisher):
    problem = classification(be, generator)
    opt = cv.NaturalGradient(approximation, fisher=fisher)
    params, state = problem.params, opt.init(problem)
    start = float(problem.loss())
    for _ in range(30):
        params, state, _ = opt.step(params, state)
    assert float(problem.at(params).loss()) < 0.5 * start


def test_statistics_average_as_documented(generator):
    """ε = min(1 - 1/k, decay): the mean of the first ones, then an exponential average."""
    problem = classification(cv.backend("numpy"), generator)
    seen = []

    class Recording(cv.NaturalGradient):
        def _with_statistics(self, state, plan, matrix):
            seen.append(cv.estimate(matrix, plan.method, matrix.backend))
            return super()._with_statistics(state, plan, matrix)

    opt = Recording("diagonal", decay=0.6, damping=0.1, learning_rate=0.1)
    params, state = problem.params, opt.init(problem)
    for _ in range(4):
        params, state, _ = opt.step(params, state)
    name = next(iter(state.statistics))
    expected = seen[0][name]
    for k, values in enumerate(seen[1:], start=2):
        share = min(1 - 1 / k, 0.6)
        expected = share * expected + (1 - share) * values[name]
    np.testing.assert_allclose(state.statistics[name], expected, rtol=1e-12)


def test_noisy_statistics_are_averaged_and_exact_ones_are_not(generator):
    problem = classification(cv.backend("numpy"), generator)
    batch = (problem.data.single.x, problem.data.single.y)
    for fisher, data, averaged in (("exact", None, False), ("exact", batch, True), ("monte-carlo", None, True)):
        opt = cv.NaturalGradient("diagonal", fisher=fisher)
        params, state, _ = opt.step(problem.params, opt.init(problem), data)
        at, first = problem.at(params), state.statistics
        params, state, _ = opt.step(params, state, data)
        matrix = cv.MonteCarloFisher(at, seed=(0, 1)) if fisher == "monte-carlo" else cv.Fisher(at)
        latest = cv.estimate(matrix, state.plan.method, at.backend)
        for name, values in state.statistics.items():
            expected = 0.5 * (first[name] + latest[name]) if averaged else latest[name]
            np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_statistics_and_operator_are_refreshed_every_so_often(generator, monkeypatch):
    from curvature.approximation import moving_average
    from curvature.optim import search

    counts = {"gather": 0, "built": 0}
    for module, name in ((moving_average, "gather"), (search, "built")):
        original = getattr(module, name)

        def counted(*args, name=name, original=original):
            counts[name] += 1
            return original(*args)

        monkeypatch.setattr(module, name, counted)
    problem = classification(cv.backend("numpy"), generator)
    opt = cv.NaturalGradient("kfac", damping=1.0, statistics_every=2, refresh_every=3)
    params, state = problem.params, opt.init(problem)
    for _ in range(7):
        params, state, _ = opt.step(params, state)
    assert counts == {"gather": 4, "built": 3}


def test_between_refreshes_an_exact_damping_is_todays(generator):
    """refresh_every = 10 keeps the operator, and λ changes every step all the same."""
    problem = classification(cv.backend("numpy"), generator)
    opt = cv.NaturalGradient(
        "exact", damping=cv.LevenbergMarquardt(1.0, interval=1), learning_rate=0.1, refresh_every=10, statistics_every=10
    )
    params, state = problem.params, opt.init(problem)
    for _ in range(3):
        params, state, _ = opt.step(params, state)
    assert state.damping < 1.0
    before = problem.space.ravel(np, params)
    gradient = problem.space.ravel(np, problem.at(params).gradient())
    after, _, _ = opt.step(params, state)
    fisher = cv.Fisher(problem).to_dense()
    expected = before - 0.1 * np.linalg.solve(fisher + state.damping * np.eye(len(before)), gradient)
    np.testing.assert_allclose(problem.space.ravel(np, after), expected, rtol=1e-9, atol=1e-12)


def test_levenberg_marquardt_moves_the_damping_by_the_ratio():
    rule = cv.LevenbergMarquardt(1.0, interval=5)
    change = (19 / 20) ** 5
    assert rule.update(1.0, 0.9) == pytest.approx(change)
    assert rule.update(1.0, 0.5) == 1.0
    assert rule.update(1.0, 0.1) == pytest.approx(1 / change)
    assert rule.update(1.0, math.nan) == pytest.approx(1 / change)
    assert rule.update(rule.minimum, 0.9) == rule.minimum


def test_the_ratio_is_actual_over_predicted(generator):
    problem = classification(cv.backend("numpy"), generator)
    opt = cv.NaturalGradient("exact", damping=cv.LevenbergMarquardt(1.0, interval=2))
    params, state, first = opt.step(problem.params, opt.init(problem))
    assert math.isnan(first.ratio)
    before = float(problem.at(params).loss())
    params, state, info = opt.step(params, state)
    assert info.ratio == pytest.approx((float(problem.at(params).loss()) - before) / info.predicted, rel=1e-9)
    assert state.damping != 1.0


def test_an_undamped_step_in_two_parametrisations_is_the_same_to_second_order():
    """MATH §1.3 (i): steps of length h in θ and in w = exp θ differ by O(h²)."""
    y = np.array([[1.0], [4.0], [2.0]])
    gaps = []
    for h in (1e-2, 1e-3):
        ends = []
        for apply, start in ((lambda p, x: p, np.array([0.2])), (lambda p, x: cv.namespace(p).log(p), np.exp([0.2]))):
            problem = cv.Problem(cv.Model(apply, start), cv.Poisson(), (None, y))
            opt = cv.NaturalGradient("exact", damping=0.0, learning_rate=h)
            params, _, _ = opt.step(start, opt.init(problem))
            ends.append(apply(params, None)[0])
        gaps.append(abs(ends[0] - ends[1]))
    assert np.log10(gaps[0] / gaps[1]) == pytest.approx(2, abs=0.05)


def test_damped_steps_are_not_invariant():
    """MATH §1.3 (vi): invariance to affine maps must fail with damping."""
    y = np.array([[1.0], [4.0], [2.0]])
    ends = []
    for scale in (1.0, 3.0):
        problem = cv.Problem(cv.Model(lambda p, x, s=scale: s * p, np.array([0.2 / scale])), cv.Poisson(), (None, y))
        opt = cv.NaturalGradient("exact", damping=0.5, learning_rate=1.0)
        params, _, _ = opt.step(problem.params, opt.init(problem))
        ends.append(scale * params[0])
    assert abs(ends[0] - ends[1]) > 1e-2


@pytest.mark.parametrize("bound", [1e-4, 1e-2])
def test_a_trust_region_binds_with_backtracking_too(generator, bound):
    problem = classification(cv.backend("numpy"), generator)
    opt = cv.NaturalGradient("exact", damping=1e-3, learning_rate=cv.Backtracking(), trust_region=bound)
    params, _, _ = opt.step(problem.params, opt.init(problem))
    step = problem.space.ravel(np, params) - problem.space.ravel(np, problem.params)
    assert 0.5 * step @ cv.Fisher(problem).to_dense() @ step <= bound * (1 + 1e-9)


def test_a_long_step_that_was_accepted_is_no_failure(generator):
    """Backtracking from α = 8: beyond α = 2 the quadratic model predicts no decrease, and λ is left alone."""
    problem = classification(cv.backend("numpy"), generator)
    opt = cv.NaturalGradient("exact", damping=cv.LevenbergMarquardt(1.0, interval=1), learning_rate=cv.Backtracking(initial=8.0))
    params, state = problem.params, opt.init(problem)
    long = 0
    for _ in range(20):
        params, state, info = opt.step(params, state)
        if info.accepted and info.learning_rate >= 2:
            long += 1
            assert state.damping == info.damping
    assert long


def test_the_damping_does_not_climb_on_rounding_at_the_optimum(generator):
    problem = regression(cv.backend("numpy"), generator)
    opt = cv.NaturalGradient("exact", damping=cv.LevenbergMarquardt(1.0, interval=1))
    params, state = problem.params, opt.init(problem)
    dampings = []
    for _ in range(150):
        params, state, info = opt.step(params, state)
        dampings.append(info.damping)
    assert dampings[-1] <= dampings[20]


def test_a_step_out_of_the_numbers_is_taken_back():
    """exp(exp θ) overflows: the next call returns the parameters before the step, with a higher damping."""
    problem = cv.Problem(
        cv.Model(lambda p, x: cv.namespace(p).exp(cv.namespace(p).exp(p)), np.array([1.0])),
        cv.Gaussian(),
        (None, np.array([[1e8]])),
    )
    opt = cv.NaturalGradient("exact", damping=cv.LevenbergMarquardt(1e-8, interval=5), learning_rate=1.0)
    params, state, first = opt.step(problem.params, opt.init(problem))
    with np.errstate(all="ignore"):
        assert first.accepted
        assert not np.isfinite(float(problem.at(params).loss()))
        back, state, info = opt.step(params, state)
    assert not info.accepted
    np.testing.assert_array_equal(back, problem.params)
    assert state.damping > first.damping


def test_a_divergent_objective_is_an_error_and_nothing_is_lost(generator):
    problem = regression(cv.backend("numpy"), generator)
    opt = cv.NaturalGradient("diagonal", damping=0.0, learning_rate=1e200)
    params, state = problem.params, opt.init(problem)
    with np.errstate(all="ignore"):
        params, state, _ = opt.step(params, state)
        before = {name: value.copy() for name, value in params.items()}
        with pytest.raises(cv.DataError, match=r"step 1: .*lower the learning rate"):
            opt.step(params, state)
    for name, value in params.items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fisher": "true"}, "fisher is one of exact, monte-carlo, empirical, ggn"),
        ({"learning_rate": -1.0}, "learning rate is a positive number"),
        ({"damping": -1.0}, "damping is a finite number"),
        ({"momentum": 1.0, "learning_rate": 0.1}, r"momentum lies in \[0, 1\)"),
        ({"refresh_every": 0}, "refresh_every is a positive integer"),
        ({"trust_region": 0.0}, "trust_region is a positive bound"),
        ({"l2": -1.0}, "l2 lies in"),
        ({"l2": "x"}, "l2 lies in"),
        ({"damping": cv.LevenbergMarquardt}, "damping is a number ≥ 0 or a rule"),
        ({"damping": "auto"}, "damping is a number ≥ 0 or a rule"),
        ({"trust_region": "a"}, "trust_region is a positive bound"),
        ({"seed": -1}, "seed is an integer"),
        ({"momentum": 0.9, "learning_rate": cv.Backtracking()}, "momentum=0.9 goes with a learning rate"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(cv.DataError, match=message):
        cv.NaturalGradient("kfac", **options)


def test_numpy_numbers_are_numbers(be, generator):
    problem = classification(be, generator)
    opt = cv.NaturalGradient("exact", damping=np.float32(0.1), l2=np.float64(0.01), learning_rate=np.float32(0.5))
    opt.step(problem.params, opt.init(problem))
    with pytest.raises(cv.DataError, match=r"init takes a curvature\.Problem"):
        opt.init(problem.model)
    with pytest.raises(cv.DataError, match=r"fisher\(problem\) returned a int"):
        cv.NaturalGradient("exact", fisher=lambda p: 3).step(problem.params, opt.init(problem))


def test_an_unknown_approximation_is_named_before_anything_is_done():
    with pytest.raises(cv.UnknownApproximationError, match=r"kfca.*did you mean.*kfac"):
        cv.NaturalGradient("kfca")


def test_first_order_methods_against_pytorch(generator):
    import torch

    problem = classification(cv.backend("torch"), generator)
    pairs = [
        (GradientDescent(0.05, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
        (GradientDescent(0.05, momentum=0.9, nesterov=True), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True)),
        (Adam(0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
    ]
    for ours, make in pairs:
        params, state = problem.params, ours.init(problem)
        theirs = {name: value.clone().requires_grad_() for name, value in params.items()}
        optimiser = make([theirs[name] for name in sorted(theirs)])
        for _ in range(10):
            params, state, _ = ours.step(params, state)
            optimiser.zero_grad()
            problem.mean_loss(theirs, problem.data.single).backward()
            optimiser.step()
        for name, value in params.items():
            torch.testing.assert_close(value, theirs[name].detach(), rtol=1e-9, atol=1e-12)


def test_an_iterative_solver_starts_from_its_last_solution(be, generator, monkeypatch):
    """What an operator with ``solve_from`` found in one step is what it starts from in the next."""
    from curvature.optim import search

    problem = classification(be, generator)
    exact = cv.NaturalGradient("exact", damping=0.1, learning_rate=0.5)
    expected, reference = problem.params, exact.init(problem)
    for _ in range(2):
        expected, reference, _ = exact.step(expected, reference)
    opt = cv.NaturalGradient(cv.approximation("conjugate-gradients"), damping=0.1, learning_rate=0.5)
    starts = []
    built = search.built

    def watched(*args):
        operator = built(*args)
        plain = operator.solve_from
        operator.solve_from = lambda v, initial, damping: starts.append(initial) or plain(v, initial, damping)
        return operator

    monkeypatch.setattr(search, "built", watched)
    params, state = problem.params, opt.init(problem)
    params, state, _ = opt.step(params, state)
    first = state.solution
    params, state, _ = opt.step(params, state)
    assert starts[0] is None
    assert starts[1] is first
    close_trees(be, problem, params, expected)


def close_trees(be, problem, found, expected):
    one, other = (be.to_numpy(problem.space.ravel(be.xp, tree)) for tree in (found, expected))
    np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)
