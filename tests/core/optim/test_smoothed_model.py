"""``SmoothedModel``: against its formula, with dense matrices, and on minibatches of data that a network fits perfectly."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

import curvature as cv
from curvature.optim import SmoothedModel

from .conftest import least_squares

DAMPING = 0.5


def minibatches(generator, problem, size, count):
    x, y = problem.data.single.x, problem.data.single.y
    chosen = [generator.choice(len(x), size, replace=False) for _ in range(count)]
    return [(x[rows], y[rows]) for rows in chosen]


def run(problem, rule, batches):
    """(parameters before each step, infos) of K-FAC without averages of its statistics."""
    opt = cv.NaturalGradient("kfac", damping=DAMPING, learning_rate=rule, decay=0.0)
    params, state, infos, at = problem.params, opt.init(problem), [], []
    for batch in batches:
        at.append(np.asarray(params))
        params, state, info = opt.step(params, state, batch)
        infos.append(info)
    return [*at, np.asarray(params)], infos


def model_at(problem, params, batch, last):
    """(Δ, gradient, B, slopes) over {Δ, last update} at a point, on a minibatch, from the dense matrix."""
    here = problem.at(params, batch)
    gradient, fisher = np.asarray(here.gradient()), np.asarray(cv.Fisher(here).to_dense())
    method, remaining = cv.approximation("kfac").damped(DAMPING)
    direction = -np.asarray(cv.approximate(cv.Fisher(here), method).solve(gradient, damping=remaining))
    span = np.stack([direction] if last is None else [direction, last])
    return direction, gradient, span @ (fisher + DAMPING * np.eye(len(gradient))) @ span.T, span @ gradient


@pytest.mark.parametrize("adaptation", [0.0, 0.3])
def test_it_is_what_its_formula_says(generator, adaptation):
    problem = least_squares(generator)
    rule = SmoothedModel(decay=0.75, limit=0.4, adaptation=adaptation, warm=2)
    batches = minibatches(generator, problem, 6, 8)
    at, infos = run(problem, rule, batches)
    kappa, rate, carried, size, shortened = 1.0, math.nan, math.nan, 0.0, 0
    for step, (batch, info) in enumerate(zip(batches, infos, strict=True)):
        last = at[step] - at[step - 1] if step else None
        direction, gradient, gram, slopes = model_at(problem, at[step], batch, last)
        momentum = 0.0
        if last is not None:
            kappa = np.clip(kappa * np.exp(-adaptation * np.clip(gradient @ last / size, -1, 1)), 0.003, 1.0)
            momentum = np.clip(-np.linalg.solve(gram, slopes)[1], 0.0, 0.4)
        # The α that minimises the model with that μ.
        alpha = -(slopes[0] + (gram[0, 1] * momentum if step else 0.0)) / gram[0, 0]
        rate = alpha if step <= 2 else 0.75 * rate + 0.25 * alpha
        carried = momentum if step <= 2 else 0.75 * carried + 0.25 * momentum
        shortened += kappa * rate > alpha
        c = np.asarray([min(kappa * rate, alpha), carried][: len(slopes)])
        size = np.abs(c * slopes).sum() + 0.5 * c @ gram @ c
        np.testing.assert_allclose(info.learning_rate, c[0], rtol=1e-7)
        np.testing.assert_allclose(info.momentum, carried, rtol=1e-7, atol=1e-9)
        update = c[0] * direction + (carried * last if step else 0.0)
        np.testing.assert_allclose(at[step + 1] - at[step], update, rtol=1e-7, atol=1e-9)
    assert 0 < shortened < 8  # both sides of the minimum were there
    assert (kappa < 1) == (adaptation > 0)


@pytest.mark.parametrize(("curvature", "rate", "taken"), [(1e-12, 0.11, 0.11), (0.0, 0.09, 0.0), (20.0, 0.095, 0.05)])
def test_a_minibatch_that_is_fitted_perfectly_says_little(curvature, rate, taken):
    """Its α has no bound, or is 0/0: it counts as twice the average at most, and is not exceeded."""
    local = SimpleNamespace(memory=(1.0, 0.1, 0.0, 1.0), previous=None, step=50)
    along = SimpleNamespace(local=local, gram=[[curvature]], slopes=[-1.0], size=lambda c: abs(c[0]), memory=())
    assert SmoothedModel().choose(along) == pytest.approx([taken])
    assert along.memory == pytest.approx((1.0, rate, 0.0, taken))


def test_the_same_data_again_and_again_do_not_shorten_it(generator):
    """Where the model is exact a step of it ends where the slope is zero."""
    problem = least_squares(generator)
    batch = minibatches(generator, problem, 40, 1)
    _, infos = run(problem, SmoothedModel(warm=100), batch * 6)
    _, exact = run(problem, cv.QuadraticModel(), batch)
    np.testing.assert_allclose(infos[0].learning_rate, exact[0].learning_rate, rtol=1e-12)
    opt = cv.NaturalGradient("kfac", damping=DAMPING, learning_rate=SmoothedModel(warm=100), decay=0.0)
    params, state = problem.params, opt.init(problem)
    for _ in range(6):
        params, state, _ = opt.step(params, state, batch[0])
    assert state.memory[0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("size", [16, 32])
def test_a_network_that_fits_its_data_stays_there(generator, size):
    """The Fisher information of a solved classification vanishes, and with it what would hold a step back: rules that go by
    one minibatch alone got there and left again, with losses of 1e3 and more.
    """
    x = generator.standard_normal((256, 8)).astype(np.float32)
    y = np.argmax(x @ generator.standard_normal((8, 4)), axis=1)
    weights = [generator.standard_normal(shape).astype(np.float32) / shape[0] ** 0.5 for shape in ((8, 24), (24, 4))]
    be = cv.backend("torch", dtype="float32")
    torch = pytest.importorskip("torch")
    model = cv.Model(lambda p, x: torch.tanh(x @ p["a"]) @ p["b"], {"a": be.asarray(weights[0]), "b": be.asarray(weights[1])})
    data = be.asarray(x), torch.as_tensor(y)
    problem = cv.Problem(model, cv.Categorical(), data)
    opt = cv.NaturalGradient("kfac")
    params, state, losses = problem.params, opt.init(problem), []
    for _ in range(500):
        rows = torch.as_tensor(generator.choice(256, size, replace=False))
        params, state, _ = opt.step(params, state, (data[0][rows], data[1][rows]))
        losses.append(float(problem.at(params).loss()))
    assert state.plan.learning_rate == SmoothedModel()
    assert min(losses) < 1e-2
    assert max(losses[300:]) < 0.03
