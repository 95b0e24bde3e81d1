"""Derivatives of JAX arrays, which nothing can be written into, against JAX's own: a part of the table (JAX compiles)."""

from __future__ import annotations

import numpy as np
import pytest

from curvature import autodiff
from curvature.backend import namespace

from .cases import CASES, points

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402


@pytest.fixture(autouse=True)
def float64():
    """Double precision while a test runs, and the setting as it was for everybody else."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


CHOSEN = ("slices", "integer arrays apart", "mask", "take_along_axis", "where", "clip", "concat")


@pytest.mark.parametrize("name", CHOSEN)
def test_agrees_with_jax(name):
    case = CASES[name]
    rng = np.random.default_rng(8)
    x = [jnp.asarray(p) for p in points(case)]
    v = [jnp.asarray(rng.normal(size=s)) for s in case.shapes]

    def f(arrays):
        return case.function(jnp, *arrays)

    def ours(arrays):
        return case.function(namespace(*arrays), *arrays)

    y, dy = jax.jvp(f, (x,), (v,))
    w = jnp.asarray(rng.normal(size=y.shape))
    (pulled,) = jax.vjp(f, x)[1](w)
    value, push, pull = autodiff.linearize(ours, x)
    close([value, push(v)], [y, dy])
    close(pull(w), pulled)
    close(autodiff.jvp(ours, x, v), [y, dy])


def third(namespace_of, jvp, gradient, f):
    """The change along v of the change along v of ∇f."""
    return lambda x, v: jvp(lambda a: jvp(gradient(lambda b: f(namespace_of(b), b)), a, v), x, v)


@pytest.mark.parametrize("name", ["det"])
def test_third_derivatives_agree_with_jax(name):
    case = CASES[name]
    (x,) = [jnp.asarray(p) for p in points(case)]
    v = jnp.asarray(np.random.default_rng(8).normal(size=x.shape))

    def f(xp, a):
        return xp.sum(case.function(xp, a) ** 2)

    theirs = third(lambda x: jnp, lambda g, x, v: jax.jvp(g, (x,), (v,))[1], jax.grad, f)(x, v)
    mine = third(namespace, lambda g, x, v: autodiff.jvp(g, x, v)[1], autodiff.gradient, f)(x, v)
    close([mine], [theirs], 1e-9)


def test_inside_jit_nothing_looks_at_values():
    """Our gradient, compiled by JAX."""
    x = jnp.asarray(np.random.default_rng(3).normal(size=(3, 3)))
    key = jnp.asarray([2, 0, 2])

    def f(a):
        xp = namespace(a)
        return xp.sum(xp.take(xp.maximum(a, 0.0), key, axis=0) @ a.T) + xp.prod(a) + xp.linalg.trace(xp.linalg.inv(a))

    close([jax.jit(autodiff.gradient(f))(x)], [autodiff.gradient(f)(x)])


def close(ours, theirs, tolerance=1e-11):
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype == jnp.float64
        scale = max(1.0, float(np.max(np.abs(b), initial=0.0)))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)
