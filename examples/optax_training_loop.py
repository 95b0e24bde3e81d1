"""A training loop with Optax in which the natural gradient takes the place of Adam: two lines change.

    python examples/optax_training_loop.py

Two interleaved spirals, a network of two hidden layers, full batches. The step is one compiled program in both loops.
"""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax

import curvature as cv
import curvature_jax


def apply(params: list[dict], x: jax.Array) -> jax.Array:
    """Logits (N, 2)."""
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["weight"] + layer["bias"])
    return x @ params[-1]["weight"] + params[-1]["bias"]


def loss(params: list[dict], x: jax.Array, y: jax.Array) -> jax.Array:
    """Cross-entropy: the loss of ``curvature.Categorical()``."""
    return optax.softmax_cross_entropy_with_integer_labels(apply(params, x), y).mean()


def with_adam(params: list[dict], batches: list) -> tuple[list[dict], jax.Array]:
    optimizer = optax.adam(1e-2)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, x, y):
        value, grads = jax.value_and_grad(loss)(params, x, y)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    for x, y in batches:
        params, state, value = step(params, state, x, y)
    return params, value


def with_natural_gradient(params: list[dict], batches: list) -> tuple[list[dict], jax.Array]:
    optimizer = curvature_jax.natural_gradient(apply, cv.Categorical())
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, x, y):
        value, grads = jax.value_and_grad(loss)(params, x, y)
        updates, state = optimizer.update(grads, state, params, data=(x, y))
        return optax.apply_updates(params, updates), state, value

    for x, y in batches:
        params, state, value = step(params, state, x, y)
    return params, value


def spirals(n: int = 200) -> tuple[jax.Array, jax.Array]:
    """Points (n, 2) of two spirals, and which of them each belongs to."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    radius = np.sqrt(rng.uniform(0.02, 1.0, n))
    angle = 2.0 * np.pi * radius + np.pi * y
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.01 * rng.standard_normal((n, 2))
    return jnp.asarray(x, dtype=jnp.float32), jnp.asarray(y)


def network(widths: tuple[int, ...] = (2, 16, 16, 2)) -> list[dict]:
    """Parameters at the start."""
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal((a, b)) * a**-0.5 for a, b in pairwise(widths)]
    return [{"weight": jnp.asarray(w, dtype=jnp.float32), "bias": jnp.zeros(w.shape[1], jnp.float32)} for w in weights]


def main(steps: int = 150) -> dict[str, float]:
    """The loss after as many steps of each."""
    batches = [spirals()] * steps
    reached = {}
    for name, train in (("Adam", with_adam), ("natural gradient", with_natural_gradient)):
        params, _ = train(network(), batches)
        reached[name] = float(loss(params, *batches[-1]))
        print(f"{name:17s} loss {reached[name]:.5f} after {steps} steps")
    return reached


if __name__ == "__main__":
    main()
