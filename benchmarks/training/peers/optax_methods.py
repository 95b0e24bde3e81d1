"""First-order methods on JAX through optax: fifty steps compiled into one program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

STEPS = 50


def adam(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """Adam."""
    _run(problem, optax.adam(settings["learning_rate"]), trace)


def nesterov(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """Gradient descent with Nesterov's momentum."""
    _run(problem, optax.sgd(settings["learning_rate"], momentum=settings["momentum"], nesterov=True), trace)


def _run(problem: Any, optimizer: optax.GradientTransformation, trace: Any) -> None:
    gradient = jax.grad(problem.objective)

    @jax.jit
    def several(theta: Any, state: Any) -> Any:
        def one(carried: Any, _: Any) -> Any:
            theta, state = carried
            updates, state = optimizer.update(gradient(theta), state, theta)
            return (optax.apply_updates(theta, updates), state), None

        return jax.lax.scan(one, (theta, state), length=STEPS)[0]

    theta = jnp.asarray(problem.start)
    state = optimizer.init(theta)
    jax.block_until_ready(several(theta, state))
    trace.start(theta)
    while True:
        theta, state = jax.block_until_ready(several(theta, state))
        trace.step(theta, STEPS)
