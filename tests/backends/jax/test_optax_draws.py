"""Draws of the compiled Monte Carlo Fisher: other ones in each step, from the distribution that is meant."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import curvature as cv
import curvature_jax
from curvature_jax.draws import KeyRng

from .optax_cases import CLASSES, apply, batch, gradient, params


def test_other_draws_in_each_step_and_their_mean_is_the_fisher():
    """The statistics of "exact" are the matrix itself: drawn again and again at one point, in one compiled loop."""
    data, p, steps = batch(0), params(), 4000
    optimizer = curvature_jax.natural_gradient(
        apply, CLASSES, approximation="exact", fisher="monte-carlo", decay=0.0, damping=1.0, learning_rate=1.0, data=data
    )
    grads = gradient(p, data)

    def body(state, _):
        state = optimizer.update(grads, state, p, data=data)[1]
        return state, jax.tree.leaves(state.statistics)[0]

    drawn = np.asarray(jax.lax.scan(body, optimizer.init(p), length=steps)[1])
    assert len(np.unique(drawn[:100, 0, 0])) > 20  # of 2⁸ sets of labels
    expected = np.asarray(cv.Fisher(cv.Problem((apply, p), CLASSES, data)).to_dense())
    error = (drawn.mean(axis=0) - expected) / (drawn.std(axis=0) / steps**0.5 + 1e-12)
    assert np.abs(error).max() < 5
    # Another seed gives other draws, the same seed the same.
    states = [optimizer.init(p)._replace(key=jax.random.key_data(jax.random.key(seed))) for seed in (0, 1)]
    again, other = (np.asarray(body(state, None)[1]) for state in states)
    np.testing.assert_allclose(again, drawn[0], rtol=1e-12)
    assert np.abs(other - drawn[0]).max() > 1e-3


def test_a_matrix_whose_draws_would_repeat_is_refused():
    data = batch(0)
    optimizer = curvature_jax.natural_gradient(apply, CLASSES, fisher=cv.MonteCarloFisher, data=data)
    with pytest.raises(cv.UnsupportedError, match="monte-carlo"):
        optimizer.init(params())


@pytest.mark.parametrize(
    ("draw", "mean", "variance"),
    [
        (lambda r, shape: r.uniform(shape), 0.5, 1 / 12),
        (lambda r, shape: r.normal(shape), 0.0, 1.0),
        (lambda r, shape: r.rademacher(shape), 0.0, 1.0),
        (lambda r, shape: r.integers(3, shape), 1.0, 2 / 3),
        (lambda r, shape: r.poisson(jnp.full(shape, 2.5)), 2.5, 2.5),
        (lambda r, shape: r.permutation(shape[0]), (20_000 - 1) / 2, (20_000**2 - 1) / 12),
    ],
    ids=["uniform", "normal", "rademacher", "integers", "poisson", "permutation"],
)
def test_draws_of_a_key(jx, draw, mean, variance):
    def two(key):
        rng = KeyRng(jx, key)
        return draw(rng, (20_000,)), draw(rng, (20_000,)), draw(rng.split(1)[0], (20_000,)), draw(rng.split(1)[0], (20_000,))

    several = [np.asarray(values, dtype=float) for values in jax.jit(two)(jax.random.key(3))]
    for position, values in enumerate(several):
        assert abs(values.mean() - mean) < 5 * (variance / 20_000) ** 0.5
        assert values.var() == pytest.approx(variance, rel=0.1)
        assert all(np.any(values != other) for other in several[:position])


@pytest.mark.parametrize("kind", [cv.Poisson, cv.Gaussian, cv.Bernoulli, cv.Exponential])
def test_likelihoods_draw_in_a_program(jx, kind):
    likelihood = kind()
    outputs = jnp.full((4, 2), 0.3)
    compiled = jax.jit(lambda key: likelihood.sample(KeyRng(jx, key), outputs))
    one, other = compiled(jax.random.key(0)), compiled(jax.random.key(1))
    assert one.shape == (4, 2)
    assert np.any(np.asarray(one) != np.asarray(other))
