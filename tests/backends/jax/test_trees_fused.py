"""Flat vectors and trees, one into the other by one program, wherever the backend is first used."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import curvature as cv
from curvature import trees

PARAMS = {"b": [jnp.arange(3.0)], "a": {"w": jnp.reshape(jnp.arange(6.0), (2, 3)), "v": jnp.asarray(2.0)}}


def test_they_are_what_they_are_without_it() -> None:
    cv.backend("jax")
    space = cv.ParameterSpace.of(PARAMS)
    flat = space.ravel(jnp, PARAMS)
    expected = trees.joined(np, [np.asarray(leaf) for leaf in trees.leaves(PARAMS)])
    np.testing.assert_array_equal(flat, expected)
    several = jnp.stack([flat, 2 * flat], axis=1)
    for found, plain in zip(space.split(jnp, several), trees.parted(jnp, several, space.offsets, space.shapes), strict=True):
        np.testing.assert_array_equal(found, plain)
        assert found.dtype == plain.dtype


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
def test_they_can_be_transformed(transform) -> None:
    cv.backend("jax")
    space = cv.ParameterSpace.of(PARAMS)

    def function(vector):
        back = space.ravel(jnp, space.unravel(jnp, vector))
        return jnp.sum(back**2)

    vector = space.ravel(jnp, PARAMS)
    argument = vector[None, :] if transform is jax.vmap else vector
    expected = 2 * vector if transform is jax.grad else jnp.sum(vector**2)
    np.testing.assert_allclose(jnp.squeeze(transform(function)(argument)), expected, rtol=1e-6)


def test_a_backend_that_is_first_made_inside_of_jit_fuses_arrays_that_have_values() -> None:
    code = (
        "import jax, jax.numpy as jnp\n"
        "import curvature as cv\n"
        "from curvature import trees\n"
        "jax.jit(lambda x: cv.backend('jax').xp.sum(x))(jnp.ones(3))\n"
        "assert set(trees._fused) == {type(jnp.ones(3))}, trees._fused\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
