"""λ at the first step, where it is left to the transformation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import curvature as cv
import curvature_jax

from .optax_cases import CLASSES, advanced, apply, batch, gradient, params, same


def mean_diagonal(model, p, data, approximation):
    """tr F̂ / P of the statistics of one batch."""
    problem = cv.Problem((model, p), CLASSES, data)
    return float(cv.approximate(cv.Fisher(problem), approximation).trace()) / problem.space.size


def first(optimizer, grads, p, data):
    """State after the first step."""
    return optimizer.update(grads, optimizer.init(p), p, data=data)[1]


@pytest.mark.parametrize("approximation", ["kfac", "diagonal"])
@pytest.mark.parametrize(
    ("damping", "share"),
    [(None, 0.25), (cv.LevenbergMarquardt(initial=None), 0.25), (cv.LevenbergMarquardt(initial=None, floor=3.0), 3.0)],
    ids=["default", "no floor", "floor"],
)
def test_it_is_a_share_of_the_mean_diagonal_entry(approximation, damping, share):
    p, data = params(), batch(0)
    optimizer = curvature_jax.natural_gradient(apply, CLASSES, approximation=approximation, fisher="exact", damping=damping)
    state = first(optimizer, gradient(p, data), p, data)
    assert float(state.last.damping) == pytest.approx(share * mean_diagonal(apply, p, data, approximation), rel=1e-9)


@pytest.mark.parametrize("unit", [0.05, 20.0])
def test_it_goes_with_the_units_of_the_parameters(unit):
    """θ = c θ' has F' = c² F: so has λ, and the step is the same."""
    data = batch(0)

    def scaled(tree, factor):
        return jax.tree.map(lambda a: a * factor, tree)

    def step(model, p, grads):
        optimizer = curvature_jax.natural_gradient(model, CLASSES, fisher="exact", approximation="diagonal")
        return optimizer.update(grads, optimizer.init(p), p, data=data)[0]

    grads = gradient(params(), data)
    here = step(apply, params(), grads)
    there = step(lambda p, x: apply(scaled(p, unit), x), scaled(params(), 1 / unit), scaled(grads, unit))
    same(scaled(there, unit), here, 1e-9)


def test_a_first_batch_that_fails_leaves_it_open():
    p, good = params(), batch(0)
    bad = (good[0].at[0, 0].set(jnp.nan), good[1])
    optimizer = curvature_jax.natural_gradient(apply, CLASSES, fisher="exact")
    state = first(optimizer, gradient(p, bad), p, bad)
    assert int(state.failures) == 1
    updates, state = optimizer.update(gradient(p, good), state, p, data=good)
    assert bool(state.last.accepted)
    assert float(state.last.damping) == pytest.approx(0.25 * mean_diagonal(apply, p, good, "kfac"), rel=1e-9)
    assert all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves(updates))


def test_it_goes_on_by_the_rule():
    """Under scan too, and never NaN again."""
    p, batches = params(), [batch(seed) for seed in range(12)]
    optimizer = curvature_jax.natural_gradient(apply, CLASSES, fisher="exact", data=batches[0])

    def step(carry, data):
        p, state = carry
        updates, state = optimizer.update(jax.grad(_loss)(p, data), state, p, data=data)
        return (jax.tree.map(jnp.add, p, updates), state), state.last.damping

    stacked = jax.tree.map(lambda *a: jnp.stack(a), *batches)
    (_, state), dampings = jax.lax.scan(step, (p, optimizer.init(p)), stacked)
    assert bool(jnp.isfinite(dampings).all())
    assert float(dampings[0]) == float(dampings[4])
    assert len(set(map(float, dampings))) > 1
    _, one_by_one = advanced(optimizer, p, optimizer.init(p), batches)
    assert float(one_by_one.damping) == pytest.approx(float(state.damping), rel=1e-9)


def _loss(p, data):
    x, y = data
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(apply(p, x)), y[:, None], 1))
