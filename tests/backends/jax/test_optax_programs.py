"""The Optax transformation inside of ``jit``, ``scan`` and ``vmap``, from a checkpoint, and on numbers that are not finite."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint
import pytest

import curvature as cv
import curvature_jax

from .optax_cases import CLASSES, advanced, apply, batch, gradient, params, same

BATCHES = [batch(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def optimizer():
    """Every part of the state is in use: momentum, statistics, decompositions, draws and damping."""
    return curvature_jax.natural_gradient(
        apply,
        CLASSES,
        fisher="monte-carlo",
        damping=cv.LevenbergMarquardt(1.0, interval=2),
        statistics_every=2,
        refresh_every=2,
        data=BATCHES[0],
    )


def test_a_scan_is_the_loop(optimizer):
    start = params(), optimizer.init(params())

    def body(carry, data):
        p, state = carry
        updates, state = optimizer.update(gradient(p, data), state, p, data=data)
        return (optax.apply_updates(p, updates), state), state.last.loss

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *BATCHES)
    found, losses = jax.lax.scan(body, start, stacked)
    same(found, advanced(optimizer, *start, BATCHES), 1e-11)
    assert losses.shape == (4,)
    assert int(found[1].failures) == 0


def test_many_runs_at_once(optimizer):
    """Three parameters and states with a leading axis, the data shared."""
    starts = [params(seed) for seed in range(3)]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    states = jax.vmap(optimizer.init)(together)
    for data in BATCHES[:2]:
        grads = jax.vmap(lambda p, data=data: gradient(p, data))(together)
        step = jax.vmap(lambda g, s, p, data=data: optimizer.update(g, s, p, data=data))
        updates, states = step(grads, states, together)
        together = optax.apply_updates(together, updates)
    for run, start in enumerate(starts):
        p, state = advanced(optimizer, start, optimizer.init(start), BATCHES[:2])
        same(jax.tree.map(lambda a, run=run: a[run], (together, states)), (p, state), 1e-10)


def test_goes_on_from_a_checkpoint_bit_for_bit(optimizer, tmp_path):
    middle = advanced(optimizer, params(), optimizer.init(params()), BATCHES[:3])
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "run", middle)
        checkpointer.wait_until_finished()
        empty = jax.tree.map(jnp.zeros_like, (params(), optimizer.init(params())))
        restored = checkpointer.restore(tmp_path / "run", empty)
    same(restored, middle)
    same(advanced(optimizer, *restored, BATCHES[3:]), advanced(optimizer, *middle, BATCHES[3:]))


def test_compiled_by_the_caller_or_not(optimizer):
    """And the loss of the step may be given."""
    start, data = (gradient(params(), BATCHES[0]), optimizer.init(params()), params()), BATCHES[0]
    found = optimizer.update(*start, data=data)
    same(jax.jit(optimizer.update)(*start, data=data), found, 1e-12)
    for one, other in zip(jax.tree.leaves(start[1]), jax.tree.leaves(found[1]), strict=True):
        assert one.weak_type == other.weak_type  # or the next step would be compiled anew
    given = optimizer.update(*start, data=data, value=found[1].last.loss)
    same(given, found, 1e-12)


def test_nothing_of_a_trace_stays():
    """The transformation outlives the program in which it was first used."""
    data, p = BATCHES[0], params()
    optimizer = curvature_jax.natural_gradient(apply, CLASSES, approximation="diagonal", refresh_every=2)
    with jax.checking_leaks():
        found = jax.jit(lambda g, p, data: optimizer.update(g, optimizer.init(p), p, data=data))(gradient(p, data), p, data)
    same(optimizer.update(gradient(p, data), optimizer.init(p), p, data=data), found, 1e-12)


def test_without_an_example_the_first_step_finds_the_structure():
    data, options = BATCHES[0], {"approximation": "diagonal", "fisher": "exact", "refresh_every": 2}
    known = curvature_jax.natural_gradient(apply, CLASSES, data=jax.eval_shape(lambda: data), **options)
    unknown = curvature_jax.natural_gradient(apply, CLASSES, **options)
    assert unknown.init(params()).statistics is None
    found, expected = (advanced(o, params(), o.init(params()), BATCHES[:2]) for o in (unknown, known))
    same(found, expected)


@pytest.mark.parametrize("what", ["data", "gradient", "first"])
def test_numbers_that_are_not_finite(optimizer, what):
    """No update, a higher damping, statistics as they were; and the next step is as if nothing had been but for these."""
    p, state = params(), optimizer.init(params())
    if what != "first":
        p, state = advanced(optimizer, p, state, BATCHES[:2])
    x, y = BATCHES[2]
    bad = (x, y) if what == "gradient" else (x.at[1, 0].set(jnp.nan), y)
    grads = gradient(p, bad)
    if what == "gradient":
        grads["w"] = grads["w"].at[0, 0].set(jnp.inf)
    updates, after = optimizer.update(grads, state, p, data=bad)
    assert all(not leaf.any() for leaf in jax.tree.leaves(updates))
    same((after.statistics, after.operator, after.updates), (state.statistics, state.operator, state.updates))
    assert int(after.failures) == 1
    assert not after.last.accepted
    assert float(after.damping) == pytest.approx(float(state.damping) / 0.95**2)
    updates, following = optimizer.update(gradient(p, BATCHES[3]), after, p, data=BATCHES[3])
    assert following.last.accepted
    assert int(following.failures) == 1
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves((updates, following.statistics)))
    assert float(optax.tree.norm(updates)) > 0


@pytest.mark.filterwarnings("ignore::curvature.FallbackWarning")
def test_a_step_that_leaves_the_numbers_is_not_taken():
    """A model that overflows where the step leads: the objective after it is looked at, and is infinite."""

    def explosive(p, x):
        return jnp.exp(jnp.exp(p["w"]) * 6.0) * x[:, None]

    data = jnp.ones(4), jnp.full((4, 1), 1e8)
    p = {"w": jnp.asarray([0.0])}
    optimizer = curvature_jax.natural_gradient(
        explosive,
        cv.Gaussian(1.0),
        approximation="exact",
        fisher="exact",
        damping=cv.LevenbergMarquardt(1e-3, interval=1),
        learning_rate=1.0,
        data=data,
    )
    grads = cv.Problem((explosive, p), cv.Gaussian(1.0), data).gradient()
    updates, state = optimizer.update(grads, optimizer.init(p), p, data=data)
    assert float(updates["w"][0]) == 0
    assert int(state.failures) == 1
    assert float(state.damping) == pytest.approx(1e-3 / 0.95)
