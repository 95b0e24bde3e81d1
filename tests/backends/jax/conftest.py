"""64-bit types for exact comparisons; what happens without them is tested in processes of their own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import curvature as cv

jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="session")
def jx() -> cv.Backend:
    return cv.backend("jax")


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def dense_agreement(module, call, x, y):
    """Gradient, Fisher, GGN, Hessian and diagonal of a classifier's module against JAX's own, dense and in float64.

    Args:
        call: (params, x) -> logits, made without this library.
    """
    problem = cv.Problem(module, cv.Categorical(), (x, y))
    params = problem.params
    theta, unravel = ravel_pytree(params)

    def outputs(t):
        return call(unravel(t), x)

    def loss(t):
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs(t)), y[:, None], 1))

    flat = problem.space.ravel(jnp, problem.gradient())
    np.testing.assert_allclose(flat, jax.grad(loss)(theta), rtol=1e-9, atol=1e-11)
    jacobian, p = jax.jacrev(outputs)(theta), jax.nn.softmax(outputs(theta))
    middle = jax.vmap(lambda q: jnp.diag(q) - jnp.outer(q, q))(p)
    blocks = jnp.einsum("ncp,ncd,ndq->npq", jacobian, middle, jacobian)
    fisher = jnp.mean(blocks, axis=0)
    v = jnp.asarray(np.random.default_rng(3).standard_normal((len(theta), 2)))
    np.testing.assert_allclose(cv.Fisher(problem) @ v, fisher @ v, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(cv.GGN(problem) @ v, fisher @ v, rtol=1e-8, atol=1e-9)
    tangent = jax.jvp(jax.grad(loss), (theta,), (v[:, 0],))[1]
    np.testing.assert_allclose(cv.Hessian(problem) @ v[:, 0], tangent, rtol=1e-8, atol=1e-9)
    diagonal = cv.approximate(cv.Fisher(problem), "diagonal").diagonal()
    np.testing.assert_allclose(diagonal, jnp.diagonal(fisher), rtol=1e-8, atol=1e-10)
    step = cv.approximate(cv.Fisher(problem), "kfac").solve(problem.gradient(), damping=1e-1)
    assert all(bool(jnp.all(jnp.isfinite(a))) for a in jax.tree.leaves(step))
    return problem


@pytest.fixture(scope="session")
def against_dense():
    return dense_agreement


@pytest.fixture(scope="session")
def kinds():
    """{name: kind} of the layers of a problem."""
    return lambda problem: {layer.name: layer.kind for layer in problem.structure.layers}
