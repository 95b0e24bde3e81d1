"""What ``curvature_jax.natural_gradient`` chooses by itself, on minibatches of data that a network fits perfectly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

import curvature as cv
import curvature_jax


def apply(p, x):
    return jnp.tanh(x @ p["a"]) @ p["b"]


def test_it_gets_there_and_stays_there():
    """With the vanishing Fisher information of a solved classification steps may grow without bounds."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 8)).astype(np.float32)
    y = np.argmax(x @ rng.standard_normal((8, 4)), axis=1)
    rows = np.stack([rng.choice(256, 16, replace=False) for _ in range(500)])
    params = {
        name: jnp.asarray(rng.standard_normal(shape) / shape[0] ** 0.5, jnp.float32)
        for name, shape in (("a", (8, 24)), ("b", (24, 4)))
    }

    def loss(p, x, y):
        return -jnp.mean(jax.nn.log_softmax(apply(p, x))[jnp.arange(len(y)), y])

    def losses(**options):
        optimizer = curvature_jax.natural_gradient(apply, cv.Categorical(), data=(x[:16], y[:16]), **options)

        def step(carry, batch):
            p, state = carry
            updates, state = optimizer.update(jax.grad(loss)(p, *batch), state, p, data=batch)
            p = optax.apply_updates(p, updates)
            return (p, state), loss(p, x, y)

        return jax.jit(lambda p: jax.lax.scan(step, (p, optimizer.init(p)), (x[rows], y[rows]))[1])(params)

    chosen = losses()
    assert jnp.min(chosen) < 1e-2
    assert jnp.max(chosen[300:]) < 0.03
    # The same data in the same order, by the rules that were chosen before.
    assert jnp.max(losses(learning_rate="quadratic", damping=cv.LevenbergMarquardt())[300:]) > 1.0
