"""This library on every problem: what one writes, and no more."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import curvature as cv

WARM_STEPS, WARM_SECONDS = 6, 10.0
"""Steps before the clock starts, which compile what there is to compile."""


def run(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """Natural gradient."""
    make, measured = SETTINGS[problem.name](problem)
    started = time.perf_counter()
    for number, _ in enumerate(make()):
        if number + 1 >= WARM_STEPS or time.perf_counter() - started > WARM_SECONDS:
            break
    steps = make()
    trace.start(measured(next(steps)))
    for params in steps:
        trace.step(lambda params=params: measured(params))


Steps = Callable[[], Iterator[Any]]


def _steps(optimizer: cv.NaturalGradient, problem: cv.Problem, batches: Callable[[], Iterator[Any]] | None = None) -> Steps:
    """The parameters at the start and after every step, or their average where one is kept; on all the data or on minibatches."""

    def make() -> Iterator[Any]:
        params, state = problem.params, optimizer.init(problem)
        given = iter(batches()) if batches is not None else None
        yield params
        while True:
            params, state, _ = optimizer.step(params, state, None if given is None else next(given))
            yield params if state.average is None else state.average

    return make


def _flat(params: Any) -> Any:
    from jax.flatten_util import ravel_pytree

    return ravel_pytree(params)[0]


def poisson(problem: Any) -> tuple[Steps, Callable[[Any], Any]]:
    """Least squares: every point is an example with its residual as output, weighted by how many of its kind there are."""
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree

    inner, outer = len(problem.interior), len(problem.boundary)
    points = jnp.concatenate([problem.interior, problem.boundary])
    sources = jnp.concatenate([problem.source, problem.on_boundary])
    is_inner = jnp.arange(inner + outer) < inner
    x = jnp.concatenate([points, sources[:, None], is_inner[:, None]], axis=1)
    weights = jnp.where(is_inner, 1 / inner, 1 / outer)

    def residual(params: Any, row: Any) -> Any:
        theta, point = ravel_pytree(params)[0], row[:-2]
        return jnp.where(row[-1] > 0, problem.inner(theta, point, row[-2]), problem.outer(theta, point, row[-2]))

    def apply(params: Any, x: Any) -> Any:
        return jax.vmap(residual, (None, 0))(params, x)[:, None]

    # With this variance -log p has no constant, in which a small loss would be lost.
    likelihood = cv.Gaussian(variance=1 / (2 * math.pi))
    model = cv.Model(apply, problem.unravel(jnp.asarray(problem.start)))
    task = cv.Problem(model, likelihood, (x, jnp.zeros(len(x)), weights), reduction="sum")
    return _steps(cv.NaturalGradient(), task), _flat


def softmax(problem: Any) -> tuple[Steps, Callable[[Any], Any]]:
    """Categorical outputs, linear in the parameters."""
    import jax.numpy as jnp

    model = cv.Model(lambda params, x: x @ params["weight"], problem.unravel(jnp.asarray(problem.start)))
    task = cv.Problem(model, cv.Categorical(), (problem.x, problem.y))
    return _steps(cv.NaturalGradient(l2=problem.l2), task), _flat


def ising(problem: Any) -> tuple[Steps, Callable[[Any], Any]]:
    """Stochastic reconfiguration: the metric is the covariance of ∇log ψ over the configurations, weighted by |ψ|²."""
    import jax
    import jax.numpy as jnp

    zeros = jnp.zeros(len(problem.spins))
    weights, energy = jax.jit(problem.weights_and_local_energies), jax.jit(problem.energy)

    class Energy:
        approximation = cv.approximation("sample-space", centred=True)

        def value(self, at: cv.Problem) -> Any:
            return energy(at.params)

        def value_and_gradient(self, at: cv.Problem) -> Any:
            return problem.energy_and_gradient(at.params)

        def sample(self, params: Any) -> Any:
            return problem.spins, zeros, weights(params)[0]

    start = problem.unravel(jnp.asarray(problem.start))
    model = cv.Model(lambda params, s: problem.log_psi(params, s)[:, None], start)
    task = cv.Problem(model, cv.Gaussian(), Energy().sample(start))
    return _steps(cv.NaturalGradient(objective=Energy()), task), _flat


def curves(problem: Any) -> tuple[Steps, Callable[[Any], Any]]:
    """Minibatches of 1000."""
    task = cv.Problem(problem.module(), cv.Bernoulli(), problem.data())
    return _steps(cv.NaturalGradient(l2=problem.l2), task, lambda: problem.minibatches(1000)), _same


def digits(problem: Any) -> tuple[Steps, Callable[[Any], Any]]:
    """Minibatches."""
    task = cv.Problem(problem.module(), cv.Categorical(), problem.data())
    return _steps(cv.NaturalGradient(), task, problem.minibatches), _same


class Characters(cv.Likelihood):
    """Independent categorical outputs at every position: outputs (N, T · C), y (N, T)."""

    canonical = True

    def __init__(self, classes: int) -> None:
        self.classes, self.one = classes, cv.Categorical()

    def log_prob(self, outputs: Any, y: Any) -> Any:
        return self.one.log_prob(outputs.reshape(-1, self.classes), y.reshape(-1)).reshape(y.shape).sum(1)

    def score(self, outputs: Any, y: Any) -> Any:
        return self.one.score(outputs.reshape(-1, self.classes), y.reshape(-1)).reshape(outputs.shape)

    def fisher_product(self, outputs: Any, v: Any) -> Any:
        positions = [array.reshape(-1, self.classes) for array in (outputs, v)]
        return self.one.fisher_product(*positions).reshape(outputs.shape)

    def sample(self, rng: Any, outputs: Any) -> Any:
        return self.one.sample(rng, outputs.reshape(-1, self.classes)).reshape(len(outputs), -1)


def text(problem: Any) -> tuple[Steps, Callable[[Any], Any]]:
    """Minibatches; a window has as many outputs as positions times characters."""
    task = cv.Problem(problem.module(), Characters(len(problem.characters)), next(problem.minibatches()))
    return _steps(cv.NaturalGradient(), task, problem.minibatches), _same


def _same(params: Any) -> Any:
    return params


SETTINGS: dict[str, Callable[[Any], tuple[Steps, Callable[[Any], Any]]]] = {
    "poisson-2d": poisson,
    "poisson-5d": poisson,
    "ising": ising,
    "softmax": softmax,
    "curves": curves,
    "digits": digits,
    "text": text,
}
