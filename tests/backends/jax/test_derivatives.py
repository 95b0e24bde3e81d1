"""Derivatives of closures and of plain functions, alone, nested, and inside of the caller's own transformations."""

from __future__ import annotations

from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import curvature as cv
from curvature.backend import Keyed

X = jnp.asarray(np.random.default_rng(1).standard_normal((5, 3)))


def network(p, x):
    return jnp.tanh(x @ p["w"] + p["b"])


def loss(p, x):
    return jnp.sum(jnp.exp(network(p, x)))


def tree(seed):
    r = np.random.default_rng(seed)
    return {"b": jnp.asarray(r.standard_normal(2)), "w": jnp.asarray(r.standard_normal((3, 2)))}


def as_closure(f):
    return Keyed(f, f, {}).on(X)


def as_plain(f):
    return lambda p: f(p, X)


def close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), found, expected)


@pytest.fixture(params=[as_closure, as_plain])
def made(request):
    return request.param


PARAMS, TANGENT, OUT = tree(2), tree(3), jnp.asarray(np.random.default_rng(4).standard_normal((5, 2)))
# f = tanh(x w + b): ∂f = (1 - f²) ∘ (x ẇ + ḃ).
VALUE = network(PARAMS, X)
SLOPE = 1 - VALUE**2
PUSHED = SLOPE * (X @ TANGENT["w"] + TANGENT["b"])
PULLED = {"b": (SLOPE * OUT).sum(0), "w": X.T @ (SLOPE * OUT)}


def test_first_derivatives(jx, made):
    f = made(network)
    close(jx.evaluate(f, PARAMS), VALUE)
    value, pull = jx.vjp(f, PARAMS)
    close((value, pull(OUT), pull(2 * OUT)["b"]), (VALUE, PULLED, 2 * PULLED["b"]))
    close(jx.jvp(f, PARAMS, TANGENT), (VALUE, PUSHED))
    value, push, pull = jx.linearize(f, PARAMS)
    close((value, push(TANGENT), pull(OUT), push(TANGENT)), (VALUE, PUSHED, PULLED, PUSHED))
    value, pushed, pull = jx.jvp_and_pull(f, PARAMS, TANGENT)
    close((value, pushed, pull(OUT)), (VALUE, PUSHED, PULLED))


def test_second_derivatives(jx, made):
    """∇ Σ exp f = Jᵀ exp f; ∇² v by complex-free central differences of it, exact to O(ε²)."""
    f = made(loss)
    value, gradient = jx.value_and_gradient(f, PARAMS)
    slope = SLOPE * jnp.exp(VALUE)
    close((value, gradient), (jnp.sum(jnp.exp(VALUE)), {"b": slope.sum(0), "w": X.T @ slope}))
    # d²exp(tanh s)/ds² = exp(f) (1 - f²)(1 - f² - 2 f)
    bent = jnp.exp(VALUE) * SLOPE * (SLOPE - 2 * VALUE) * (X @ TANGENT["w"] + TANGENT["b"])
    close(jx.hvp(f, PARAMS, TANGENT), {"b": bent.sum(0), "w": X.T @ bent})


def test_derivatives_nest(jx, made):
    """D³ along three directions, in two orders of nesting."""
    f, other = made(loss), tree(5)
    _, one = jx.jvp(lambda p: jx.hvp(f, p, TANGENT), PARAMS, other)
    _, two = jx.jvp(lambda p: jx.hvp(f, p, other), PARAMS, TANGENT)
    close(one, two)
    _, gradient = jx.value_and_gradient(lambda p: jx.jvp(f, p, TANGENT)[1], PARAMS)
    close(gradient, jx.hvp(f, PARAMS, TANGENT))


def test_inside_of_the_callers_transformations(jx):
    """One closure throughout, so that nothing of one trace may stay for the next."""
    f, keyed = as_closure(loss), Keyed(network, "network", {})
    expected = jx.hvp(f, PARAMS, TANGENT)
    close(jax.jit(lambda p, v: jx.hvp(f, p, v))(PARAMS, TANGENT), expected)
    close(jax.grad(lambda p: jx.jvp(f, p, TANGENT)[1])(PARAMS), expected)
    many = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), TANGENT)
    close(jax.vmap(lambda v: jx.hvp(f, PARAMS, v))(many), jax.tree.map(lambda a: jnp.stack([a, 2 * a]), expected))

    def product(p, v, x):
        _, push, pull = jx.linearize(keyed.on(x), p)
        return pull(push(v))

    j = jax.jacobian(network)(PARAMS, X)
    flat = jnp.concatenate([j["b"].reshape(10, -1), j["w"].reshape(10, -1)], axis=1)
    wanted = flat.T @ flat @ jnp.concatenate([TANGENT["b"], TANGENT["w"].ravel()])
    for run in (product, jax.jit(product), jax.jit(product), product):
        found = run(PARAMS, TANGENT, X)
        close(jnp.concatenate([found["b"], found["w"].ravel()]), wanted)
    with jax.checking_leaks():
        jax.jit(product)(PARAMS, TANGENT, X + 1)


def test_other_data_is_seen(jx):
    keyed = Keyed(network, "network", {})
    for shift in range(3):
        close(jx.vjp(keyed.on(X + shift), PARAMS)[0], network(PARAMS, X + shift))
    assert len(keyed.compiled) == 1


def test_an_output_that_is_a_tree(jx, made):
    f = made(lambda p, x: {"z": network(p, x), "a": [p["b"]]})
    value, push, pull = jx.linearize(f, PARAMS)
    close(value, {"z": VALUE, "a": [PARAMS["b"]]})
    close(push(TANGENT), {"z": PUSHED, "a": [TANGENT["b"]]})
    close(pull({"z": OUT, "a": [TANGENT["b"]]}), {"b": PULLED["b"] + TANGENT["b"], "w": PULLED["w"]})


def test_trees_that_jax_does_not_know(jx):
    """optree's containers pass, JAX need not know them."""
    Pair = namedtuple("Pair", "b w")
    f = Keyed(lambda p, x: network({"b": p.b, "w": p.w}, x), "pair", {}).on(X)
    gradient = jx.vjp(f, Pair(**PARAMS))[1](OUT)
    assert type(gradient) is Pair
    close(gradient._asdict(), PULLED)


@jax.custom_vjp
def product(x, w):
    return x @ w


product.defvjp(lambda x, w: (x @ w, (x, w)), lambda kept, g: (g @ kept[1].T, kept[0].T @ g))


def test_functions_with_a_reverse_rule_alone(jx, made):
    """JAX refuses forward mode through ``custom_vjp``; J is the transpose of Jᵀ."""
    f = made(lambda p, x: jnp.tanh(product(x, p["w"]) + p["b"]))
    close(jx.jvp(f, PARAMS, TANGENT), (VALUE, PUSHED))
    value, push, pull = jx.linearize(f, PARAMS)
    close((value, push(TANGENT), pull(OUT)), (VALUE, PUSHED, PULLED))
    value, pushed, pull = jx.jvp_and_pull(f, PARAMS, TANGENT)
    close((value, pushed, pull(OUT)), (VALUE, PUSHED, PULLED))
    scalar = made(lambda p, x: jnp.sum(jnp.exp(jnp.tanh(product(x, p["w"]) + p["b"]))))
    close(jx.hvp(scalar, PARAMS, TANGENT), jx.hvp(made(loss), PARAMS, TANGENT))


def test_errors_of_the_function_stay_its_own(jx, made):
    def broken(p, x):
        raise TypeError("no such thing")

    for method in (jx.linearize, jx.vjp):
        with pytest.raises(TypeError, match="no such thing"):
            method(made(broken), PARAMS)


BRANCHES = {
    "if": lambda p, x: network(p, x) if p["b"][0] > 0 else -network(p, x),
    "float": lambda p, x: network(p, x) * float(p["b"][0]),
    "mask": lambda p, x: network(p, x)[p["b"] > 0],
    "numpy": lambda p, x: network(p, x) * np.asarray(p["b"]),
    "index": lambda p, x: network(p, x)[: int(p["b"][0] * 0 + 3)],
}


@pytest.mark.parametrize("name", BRANCHES)
def test_branches_on_values_are_refused_with_the_remedy(jx, name):
    for call in (lambda f: jx.vjp(f.on(X), PARAMS), lambda f: jx.parameter_uses(f, PARAMS, X)):
        with pytest.raises(cv.ModelError, match=r"values of an array while JAX compiles.*jnp\.where"):
            call(Keyed(BRANCHES[name], name, {}))


def test_writing_in_place_is_refused_with_the_remedy():
    def apply(p, x):
        h = x @ p["w"]
        h[0] = 0.0
        return h

    with pytest.raises(cv.ModelError, match=r"immutable.*\.at\[|\.at\["):
        cv.Problem((apply, PARAMS), cv.Categorical(), (X, jnp.zeros(5, dtype=int)))
