"""This library in an Optax loop: every step one compiled program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

import curvature as cv
import curvature_jax

from .jax_layers import minibatches, network, timed


def run(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """``curvature_jax.natural_gradient`` on minibatches, with nothing set."""
    apply = network(problem)

    def loss(layers: Any, x: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(apply(layers, x), y).mean()

    start = jax.tree.map(jnp.asarray, problem.layers)
    optimizer = curvature_jax.natural_gradient(
        apply, cv.Categorical(), l2=problem.l2, data=next(minibatches(problem, problem.batch))
    )

    @jax.jit
    def step(layers: Any, state: Any, x: Any, y: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(layers, x, y)
        updates, state = optimizer.update(gradient, state, layers, data=(x, y), value=value)
        return optax.apply_updates(layers, updates), state

    def steps() -> Any:
        """The parameters after each step, from the start."""
        layers, state = start, optimizer.init(start)
        for x, y in minibatches(problem, problem.batch):
            layers, state = step(layers, state, x, y)
            yield layers

    timed(problem, steps, trace)
