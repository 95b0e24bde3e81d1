"""Nothing is compiled again from step to step: compilations are counted, those of single operations among them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import curvature as cv

_EVENT = "/jax/core/compile/backend_compile_duration"
_counts: list[int] = []
_listening: list[bool] = []


def _listen(event: str, duration: float, **_: object) -> None:
    if event == _EVENT and _listening:
        _counts[-1] += 1


jax.monitoring.register_event_duration_secs_listener(_listen)


@contextmanager
def compilations() -> Iterator[list[int]]:
    """How many there are inside."""
    counts = [0]
    _counts.append(0)
    _listening.append(True)
    try:
        yield counts
    finally:
        _listening.pop()
        counts[0] = _counts.pop()


def apply(p, x):
    return jnp.tanh(x @ p["w"] + p["b"]) @ p["v"]


def params(seed=0):
    r = np.random.default_rng(seed)
    return {name: jnp.asarray(r.standard_normal(shape)) for name, shape in {"b": (4,), "v": (4, 2), "w": (3, 4)}.items()}


def batch(seed, n=6):
    r = np.random.default_rng(seed)
    return jnp.asarray(r.standard_normal((n, 3))), jnp.asarray(r.integers(0, 2, n))


def test_the_counter_counts():
    with compilations() as counts:
        jax.jit(lambda x: x * 3.25 + 1)(jnp.ones((3, 7)))
    assert counts[0] >= 1
    with compilations() as counts:
        pass
    assert counts == [0]


@pytest.mark.parametrize("method", ["kfac", "diagonal"])
def test_steps_of_natural_gradient(method):
    """Damping is adapted every fifth step: after one round of it there is nothing new."""
    problem = cv.Problem((apply, params()), cv.Categorical(), batch(0))
    optimiser = cv.NaturalGradient(method, damping=cv.LevenbergMarquardt(1.0))
    state, current = optimiser.init(problem), problem.params
    for step in range(11):
        current, state, _ = optimiser.step(current, state, batch(step))
    with compilations() as counts:
        for step in range(11, 22):
            current, state, _ = optimiser.step(current, state, batch(step))
    assert counts == [0]


def everything(problem, seed):
    """All that is asked of a problem, once."""
    gradient = problem.gradient()
    problem.loss()
    for matrix in (cv.Fisher(problem), cv.GGN(problem), cv.Hessian(problem), cv.MonteCarloFisher(problem, seed=seed)):
        matrix @ gradient
    cv.Fisher(problem).linearised() @ gradient
    cv.approximate(cv.Fisher(problem), "kfac").solve(gradient, damping=1.0)


def test_new_problems_on_one_model():
    model = cv.Model(apply, params())
    for seed in range(2):
        everything(cv.Problem(model.with_params(params(seed)), cv.Categorical(), batch(seed)), seed)
    with compilations() as counts:
        for seed in range(2, 5):
            everything(cv.Problem(model.with_params(params(seed)), cv.Categorical(), batch(seed)), seed)
            everything(cv.Problem(model, cv.Categorical(), batch(seed)).at(params(seed), batch(seed + 1)), seed)
    assert counts == [0]


def test_the_model_itself_is_called_no_more():
    """Not for another batch, nor at other parameters: what was traced is kept."""
    calls = []

    def counted(p, x):
        calls.append(isinstance(x, jax.core.Tracer))
        return apply(p, x)

    model = cv.Model(counted, params())
    problem = cv.Problem(model, cv.Categorical(), batch(0))
    everything(problem, 0)
    calls.clear()
    everything(problem.at(params(1), batch(1)), 1)
    assert not any(calls), "traced again"


def test_another_size_is_compiled_once_more_and_both_are_kept():
    problem = cv.Problem((apply, params()), cv.Categorical(), batch(0))
    for n in (6, 4, 6, 4):
        everything(problem.at(data=batch(n, n)), n)
    with compilations() as counts:
        for n in (6, 4, 6):
            everything(problem.at(params(n), batch(n + 1, n)), n)
    assert counts == [0]


class Weighted(cv.Likelihood):
    """Cross-entropy with a weight for each class, and a factor that is kept where no key can see it."""

    flattens = False

    def __init__(self, weights, factor=None):
        self.weights = weights
        if factor is not None:
            self.settings = {"factor": factor}

    def log_prob(self, outputs, y):
        factor = self.settings["factor"] if hasattr(self, "settings") else 1.0
        chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], axis=1)[:, 0]
        return factor * self.weights[y] * chosen


def test_a_likelihood_that_changes_is_not_the_one_that_was_compiled():
    r = np.random.default_rng(0)
    x, y = jnp.asarray(r.standard_normal((5, 4))), jnp.asarray([0, 1, 2, 0, 1])
    model = cv.Model(lambda p, x: x @ p["w"], {"w": jnp.asarray(r.standard_normal((4, 3)))})
    likelihood = Weighted(jnp.ones(3))
    problem = cv.Problem(model, likelihood, (x, y))
    problem.loss()
    kept = len(model.compiled)
    for k in range(3):
        likelihood.weights = jnp.asarray([1.0, 5.0, 9.0]) * (k + 1)
        fresh = cv.Problem((model.apply, model.params), Weighted(likelihood.weights), (x, y))
        np.testing.assert_allclose(problem.loss(), fresh.loss(), rtol=1e-12)
    assert len(model.compiled) == kept
    hidden = Weighted(jnp.ones(3), factor=1.0)
    problem = cv.Problem(model, hidden, (x, y))
    once = problem.loss()
    hidden.settings["factor"] = 3.0
    np.testing.assert_allclose(problem.loss(), 3 * once, rtol=1e-12)
