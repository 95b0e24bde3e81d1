"""Problems, matrices and statistics inside of the caller's own compiled program."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import curvature as cv
from curvature import nn


def apply(p, x):
    return jnp.tanh(x @ p["w"] + p["b"]) @ p["v"]


def params(seed=0):
    r = np.random.default_rng(seed)
    return {name: jnp.asarray(r.standard_normal(shape)) for name, shape in {"b": (4,), "v": (4, 2), "w": (3, 4)}.items()}


def batch(seed, n=6):
    r = np.random.default_rng(seed)
    return jnp.asarray(r.standard_normal((n, 3))), jnp.asarray(r.integers(0, 2, n))


def gradient(problem, v):
    return problem.gradient()


def products(problem, v):
    return [cv.Fisher(problem) @ v, cv.GGN(problem) @ v, cv.Hessian(problem) @ v, cv.EmpiricalFisher(problem) @ v]


def statistics(problem, v):
    matrix = cv.Fisher(problem)
    return [cv.estimate(matrix, cv.approximation(name), problem.backend) for name in ("kfac", "diagonal", "exact")]


@pytest.mark.parametrize("known", [True, False], ids=["after one outside", "at once"])
@pytest.mark.parametrize("ask", [gradient, products, statistics])
def test_the_same_numbers_as_outside(ask, known):
    model, v = cv.Model(apply, params()), params(9)

    def asked(p, x, y, v):
        return ask(cv.Problem(model.with_params(p), cv.Categorical(), (x, y)), v)

    if known:
        asked(params(), *batch(0), v)
    compiled = jax.jit(asked)
    for seed in (1, 2):
        found, expected = (f(params(seed), *batch(seed), v) for f in (compiled, asked))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_nothing_of_a_trace_stays():
    """The model outlives the trace: after it, and in a second one, everything still has values."""
    model, v = cv.Model(apply, params()), params(9)

    def asked(p, x, y):
        problem = cv.Problem(model.with_params(p), cv.Categorical(), (x, y))
        return gradient(problem, v), products(problem, v), statistics(problem, v)

    first = jax.jit(asked)(params(1), *batch(1))
    second = jax.jit(lambda *arguments: asked(*arguments))(params(1), *batch(1))
    outside = asked(params(1), *batch(1))
    for a, b, c in zip(*map(jax.tree.leaves, (first, second, outside)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(a, c, rtol=1e-10, atol=1e-13)
    with jax.checking_leaks():
        jax.jit(asked)(params(2), *batch(2))


def test_the_loss_is_differentiable_by_jax():
    x, y = batch(3)
    model = cv.Model(apply, params())

    def loss(p):
        return cv.Problem(model.with_params(p), cv.Categorical(), (x, y)).loss()

    expected = cv.Problem(model, cv.Categorical(), (x, y)).gradient()
    for found in (jax.grad(loss)(params()), jax.jit(jax.grad(loss))(params())):
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-13)


def test_many_parameters_at_once():
    """vmap over parameters: a Fisher product for each."""
    x, y = batch(4)
    model, v = cv.Model(apply, params()), params(9)

    def product(p):
        return cv.Fisher(cv.Problem(model.with_params(p), cv.Categorical(), (x, y))) @ v

    several = [params(seed) for seed in range(3)]
    found = jax.vmap(product)(jax.tree.map(lambda *leaves: jnp.stack(leaves), *several))
    for i, p in enumerate(several):
        for name, value in product(p).items():
            np.testing.assert_allclose(found[name][i], value, rtol=1e-10, atol=1e-13)


def test_a_natural_gradient_in_the_callers_program():
    """Statistics, building and solving, with nothing but shapes known: the same numbers as outside."""
    rng = np.random.default_rng(0)
    params = [{"weight": jnp.asarray(rng.normal(size=shape)), "bias": jnp.zeros(shape[0])} for shape in ((5, 4), (3, 5))]
    x, y = jnp.asarray(rng.normal(size=(7, 4))), jnp.asarray(np.arange(7) % 3)
    model = cv.Model(lambda p, x: nn.mlp(p, x, jnp.tanh), params)

    def step(p, x, y):
        problem = cv.Problem(model.with_params(p), cv.Categorical(), (x, y))
        return cv.approximate(cv.Fisher(problem), "kfac").solve(problem.gradient(), damping=0.1)

    for found, expected in zip(jax.tree.leaves(jax.jit(step)(params, x, y)), jax.tree.leaves(step(params, x, y)), strict=True):
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-9, atol=1e-12)


def time_first(p, x):
    """Positions before examples: (T·N, d)."""
    flat = jnp.reshape(jnp.transpose(x, (1, 0, 2)), (-1, x.shape[2]))
    return jnp.reshape(jnp.tanh(flat @ p["w"]), (x.shape[1], x.shape[0], 4)).sum(0) @ p["v"]


def two_views(p, x):
    h = jnp.tanh(jnp.concatenate([x[:, 0], x[:, 1]], 0) @ p["w"] + p["b"])
    one, other = jnp.split(h, 2)
    return jnp.abs(one - other) @ p["v"]


def subtracted(p, x):
    return p["v"][0] - jnp.tanh(x[:, 0] @ p["w"] + p["b"]) @ p["v"]


@pytest.mark.filterwarnings("ignore::curvature.FallbackWarning")
@pytest.mark.parametrize("function", [time_first, two_views, subtracted], ids=lambda f: f.__name__)
@pytest.mark.parametrize("method", ["diagonal", "exact"])
def test_uses_are_proven_there_too(function, method):
    model, r = cv.Model(function, params()), np.random.default_rng(5)
    x, y = jnp.asarray(r.standard_normal((6, 2, 3))), batch(0)[1]

    def diagonal(p):
        return cv.approximate(cv.GGN(cv.Problem(model.with_params(p), cv.Categorical(), (x, y))), method).diagonal()

    dense = cv.GGN(cv.Problem((function, params()), cv.Categorical(), (x, y))).to_dense()
    # Compiled before the model was ever evaluated, and after it.
    for found in (jax.jit(diagonal)(params()), diagonal(params())):
        np.testing.assert_allclose(found, jnp.diag(dense), rtol=1e-9, atol=1e-12)


def test_coupled_examples_are_refused_there_too():
    def centred(p, x):
        h = x @ p["w"]
        return jnp.tanh(h - h.mean(0)) @ p["v"]

    model = cv.Model(centred, params())

    def diagonal(p, x, y):
        return cv.approximate(cv.Fisher(cv.Problem(model.with_params(p), cv.Categorical(), (x, y))), "diagonal").diagonal()

    with pytest.raises(cv.ModelError, match="couples its examples"):
        jax.jit(diagonal)(params(), *batch(0))
