"""A small classifier for the tests of the Optax transformation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import curvature as cv

CLASSES = cv.Categorical()


def apply(p, x):
    return jnp.tanh(x @ p["w"] + p["b"]) @ p["v"]


def params(seed=0):
    r = np.random.default_rng(seed)
    return {name: jnp.asarray(r.standard_normal(shape)) for name, shape in {"b": (3,), "v": (3, 2), "w": (2, 3)}.items()}


def batch(seed, n=8):
    r = np.random.default_rng(seed)
    return jnp.asarray(r.standard_normal((n, 2))), jnp.asarray(r.integers(0, 2, n))


def weighted(seed):
    x, y = batch(seed)
    return x, y, jnp.asarray(np.random.default_rng(seed).uniform(0.5, 2.0, len(y)))


def loss(p, data):
    """Cross-entropy, without this library."""
    x, y, *weights = data
    return -jnp.average(jnp.take_along_axis(jax.nn.log_softmax(apply(p, x)), y[:, None], 1)[:, 0], weights=(*weights, None)[0])


gradient = jax.jit(jax.grad(loss))


def advanced(optimizer, p, state, batches):
    """Parameters and state after a step on each batch, one call at a time."""
    for data in batches:
        updates, state = optimizer.update(gradient(p, data), state, p, data=data)
        p = jax.tree.map(jnp.add, p, updates)
    return p, state


def same(a, b, tolerance=0.0):
    """Two trees have one structure, and the same numbers (NaN is NaN)."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
