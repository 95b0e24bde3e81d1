"""This library in an Optax loop: every step one compiled program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import curvature as cv
import curvature_jax

WARM = 6
"""Steps that compile all there is to compile."""


def run(problem: Any, settings: dict[str, Any], trace: Any) -> None:
    """``curvature_jax.natural_gradient`` on minibatches, with nothing set."""
    activation = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}[problem.activation]

    def apply(layers: Any, x: Any) -> Any:
        for number, layer in enumerate(layers):
            x = x @ layer["weight"] + layer["bias"]
            x = x if number in problem.linear else activation(x)
        return x

    def loss(layers: Any, x: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(apply(layers, x), y).mean()

    start = jax.tree.map(jnp.asarray, problem.layers)
    batches = _minibatches(problem)
    optimizer = curvature_jax.natural_gradient(apply, cv.Categorical(), l2=problem.l2, data=next(batches))

    @jax.jit
    def step(layers: Any, state: Any, x: Any, y: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(layers, x, y)
        updates, state = optimizer.update(gradient, state, layers, data=(x, y), value=value)
        return optax.apply_updates(layers, updates), state

    def steps() -> Any:
        """The parameters after each step, from the start."""
        layers, state = start, optimizer.init(start)
        for x, y in _minibatches(problem):
            layers, state = step(layers, state, x, y)
            yield layers

    for _, layers in zip(range(WARM), steps(), strict=False):
        jax.block_until_ready(layers)
    trace.start(problem.layers)
    for layers in steps():
        trace.step(jax.block_until_ready(layers))


def _minibatches(problem: Any) -> Any:
    """Minibatches without end, each epoch in a new order."""
    x, y = (jnp.asarray(part) for part in problem.arrays)
    rng = np.random.default_rng(problem.seed)
    while True:
        order = rng.permutation(len(x))
        for first in range(0, len(x) - problem.batch + 1, problem.batch):
            chosen = order[first : first + problem.batch]
            yield x[chosen], y[chosen]
