"""Operators and approximations inside of a program that is being compiled."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Diagonal, LowRank

jax = pytest.importorskip("jax")
jnp = jax.numpy


@pytest.fixture(autouse=True)
def float64():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def network(params, x):
    return jnp.tanh(x @ params[0] + params[1]) @ params[2]


def parts(rng):
    params = [jnp.asarray(rng.standard_normal(shape)) for shape in ((3, 4), (4,), (4, 3))]
    return params, jnp.asarray(rng.standard_normal((9, 3))), jnp.asarray(rng.integers(0, 3, 9))


def agree(function, *arguments):
    for found, expected in zip(jax.jit(function)(*arguments), function(*arguments), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11)


def test_operators(generator):
    u = jnp.asarray(np.linalg.qr(generator.standard_normal((6, 2)))[0])
    d, v = jnp.asarray(generator.uniform(1, 2, 6)), jnp.asarray(generator.standard_normal(6))
    known = LowRank(u, jnp.asarray([2.0, 1.0])).inverse(0.5)

    def everything(u, d, damping, v):
        low = LowRank(u, jnp.asarray([2.0, 1.0]))
        both = low + Diagonal(d)
        return (
            *(a.solve(v, damping=damping) for a in (low, both, known, low + low, both + both)),
            *(a.logdet(damping) for a in (low, both, known)),
            *(a.norm() for a in (low, both)),
            both.inverse(damping) @ v,
            both.power(2) @ v,
            low.power(-0.5, damping) @ v,
            low.eigh()[0],
            low.eigh(2)[0],
            LowRank.of_factor(2 * u).to_dense(),
        )

    agree(everything, u, d, 0.3, v)


@pytest.mark.parametrize(
    ("name", "options"), [("low-rank", {"rank": 4, "power_iterations": 1}), ("low-rank-plus-diagonal", {"rank": 4})]
)
def test_approximations(generator, name, options):
    params, x, y = parts(generator)
    v = jnp.asarray(generator.standard_normal(28))

    def solved(params, v):
        matrix = cv.Fisher(cv.Problem(cv.Model(network, params), cv.Categorical(), (x, y)))
        near = cv.approximate(matrix, name, **options)
        return near.solve(v, damping=0.1), near.logdet(0.1)

    agree(solved, params, v)


@pytest.mark.parametrize("options", [{"damping": 0.1}])
def test_a_rank_that_depends_on_values_is_refused(generator, options):
    params, x, y = parts(generator)

    def trace(params):
        matrix = cv.Fisher(cv.Problem(cv.Model(network, params), cv.Categorical(), (x, y)))
        return cv.approximate(matrix, "low-rank", **options).trace()

    with pytest.raises(cv.UnsupportedError, match="call it outside of jit"):
        jax.jit(trace)(params)
