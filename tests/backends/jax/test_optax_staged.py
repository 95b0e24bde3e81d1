"""A function in two parts: decompositions are done in the first, and nothing is done twice."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from curvature_jax.staged import Staged


def matrix(seed, n=4):
    root = np.random.default_rng(seed).standard_normal((n, n))
    return jnp.asarray(root @ root.T + np.eye(n))


def by_eigenvectors(known, later):
    values, vectors = jnp.linalg.eigh(known["a"])
    v, damping = later
    return vectors @ ((vectors.T @ v) / (values + damping))


def by_cholesky(known, later):
    factor = jnp.linalg.cholesky(known["a"] + known["c"] * jnp.eye(4))
    return jax.scipy.linalg.cho_solve((factor, True), later[0]) * jnp.arange(1.0, 5.0) + later[1]


def of_the_first_alone(known, later):
    return jnp.sum(known["a"], axis=0) * known["c"]


def of_the_second_alone(known, later):
    return later[0] * later[1]


@pytest.mark.parametrize(
    ("f", "kept"),
    [
        (by_eigenvectors, {(4,), (4, 4)}),
        (by_cholesky, {(4, 4)}),
        (of_the_first_alone, {(4,)}),
        (of_the_second_alone, set()),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_both_parts_together_are_the_function(f, kept):
    known, later = {"a": matrix(0), "c": jnp.asarray(0.5)}, (jnp.arange(4.0), jnp.asarray(0.3))
    staged = Staged(f, known, jax.eval_shape(lambda: later))
    prepared = staged.prepare(known)
    assert {array.shape for array in prepared} == kept
    assert len(prepared) == len(kept)
    for now in (later, (jnp.ones(4), jnp.asarray(2.0))):
        np.testing.assert_allclose(staged.finish(prepared, now), f(known, now), rtol=1e-12)
    program = str(jax.make_jaxpr(staged.finish)(prepared, later))
    assert "cholesky" not in program
    assert "eigh" not in program


def test_what_it_closes_over_is_of_the_program_around_it():
    @jax.jit
    def run(a, shift):
        known, later = {"a": a}, (jnp.ones(4), shift)
        staged = Staged(lambda k, x: jnp.linalg.inv(k["a"]) @ x[0] + shift, known, later)
        return staged.finish(staged.prepare(known), later)

    np.testing.assert_allclose(run(matrix(1), 2.0), np.linalg.inv(matrix(1)) @ np.ones(4) + 2.0, rtol=1e-10)
