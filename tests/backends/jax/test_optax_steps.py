"""The compiled natural gradient for Optax takes the steps of ``curvature.NaturalGradient``."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import curvature as cv
import curvature_jax

from .optax_cases import CLASSES, advanced, apply, batch, gradient, params, same, weighted

EVERYTHING = {
    "damping": cv.LevenbergMarquardt(1.0, interval=2, factor=0.8),
    "learning_rate": cv.QuadraticModel(),
    "trust_region": 0.05,
    "l2": 0.1,
    "decay": 0.9,
    "statistics_every": 2,
    "refresh_every": 3,
}


def librarys(options, batches, approximation="kfac", fisher="exact"):
    """Parameters, state and reports of ``curvature.NaturalGradient``."""
    optimizer = cv.NaturalGradient(approximation, fisher=fisher, **options)
    p, reports = params(), []
    state = optimizer.init(cv.Problem((apply, p), CLASSES, batches[0]))
    for data in batches:
        p, state, info = optimizer.step(p, state, data)
        reports.append(info)
    return p, state, reports


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"damping": 0.1, "learning_rate": 0.5, "momentum": 0.9, "decay": 0.95}, 2),
        ({"damping": cv.LevenbergMarquardt(1.0, interval=2), "learning_rate": cv.QuadraticModel(), "decay": 0.95}, 5),
        ({"damping": 0.1, "learning_rate": cv.optim.SmoothedModel(warm=2, adaptation=0.5, limit=0.3), "decay": 0.95}, 7),
        (EVERYTHING, 8),
        ({"damping": cv.LevenbergMarquardt(1.0, interval=1, factor=0.5, floor=0.3), "learning_rate": 0.1, "momentum": 0.9}, 6),
        ({"damping": 0.1, "learning_rate": 1.0, "decay": 0.0, "acceleration": cv.GeodesicAcceleration(50.0)}, 2),
    ],
    ids=["numbers", "quadratic", "smoothed", "everything", "floor", "acceleration"],
)
def test_the_steps_of_the_library(options, steps):
    batches = [(weighted if "acceleration" in options else batch)(seed) for seed in range(steps)]
    optimizer = curvature_jax.natural_gradient(apply, CLASSES, fisher="exact", data=batches[0], **options)
    p, state = advanced(optimizer, params(), optimizer.init(params()), batches)
    expected, theirs, reports = librarys(options, batches)
    same(p, expected, 1e-11)
    assert float(state.damping) == pytest.approx(theirs.damping, rel=1e-12)
    last = reports[-1]
    found = {name: float(getattr(state.last, name)) for name in state.last._fields}
    for name in ("loss", "gradient_norm", "damping", "learning_rate", "momentum"):
        assert found[name] == pytest.approx(getattr(last, name), rel=1e-9), name
    if state.memory is not None:
        np.testing.assert_allclose(state.memory, theirs.memory, rtol=1e-8)
        assert float(state.memory[0]) < 1.0
    if "acceleration" in options:
        straight = advanced(
            curvature_jax.natural_gradient(apply, CLASSES, damping=0.1, learning_rate=1.0, decay=0.0, fisher="exact"),
            *(params(), optimizer.init(params())._replace(statistics=None)),
            batches[:1],
        )[0]
        bent = librarys(options, batches[:1])[0]
        assert float(jnp.max(jnp.abs(straight["w"] - bent["w"]))) > 1e-3  # the bend is taken
    if options is EVERYTHING:
        assert found["ratio"] == pytest.approx(last.ratio, rel=1e-6)
        assert theirs.damping != 1.0


def test_the_trust_region_binds_and_a_schedule_is_followed():
    """At a bound that binds ½ δᵀFδ is the bound; two steps from one state differ by the ratio of their learning rates."""
    data = batch(0)
    bounded = curvature_jax.natural_gradient(
        apply, CLASSES, approximation="diagonal", fisher="exact", damping=1e-3, learning_rate=1.0, trust_region=1e-4, data=data
    )
    state = bounded.init(params())
    updates, _ = bounded.update(gradient(params(), data), state, params(), data=data)
    form = cv.Fisher(cv.Problem((apply, params()), CLASSES, data)).quadratic_forms([updates])
    assert float(form[0, 0]) / 2 == pytest.approx(1e-4, rel=1e-10)

    scheduled = curvature_jax.natural_gradient(
        apply,
        CLASSES,
        approximation="diagonal",
        fisher="exact",
        damping=lambda step: 0.1 + 0.1 * step,
        learning_rate=optax.piecewise_constant_schedule(0.5, {1: 0.1}),
        decay=0.0,
        data=data,
    )
    state = scheduled.init(params())
    first, state = scheduled.update(gradient(params(), data), state, params(), data=data)
    second, state = scheduled.update(gradient(params(), data), state, params(), data=data)
    assert float(state.last.damping) == pytest.approx(0.2)
    assert float(state.last.learning_rate) == pytest.approx(0.05)
    diagonal = cv.approximate(cv.Fisher(cv.Problem((apply, params()), CLASSES, data)), "diagonal")
    for updates, rate, damping in ((first, 0.5, 0.1), (second, 0.05, 0.2)):
        expected = diagonal.solve(gradient(params(), data), damping=damping)
        same(updates, jax.tree.map(lambda a, rate=rate: -rate * a, expected), 1e-12)


def test_in_a_chain():
    """Clipped gradients go in; ``optax.scale_by_learning_rate`` turns the sign of an ascent."""
    data, grads = batch(0), gradient(params(), batch(0))
    options = {"approximation": "diagonal", "fisher": "exact", "damping": 0.1, "data": data}
    chain = optax.chain(
        optax.clip_by_global_norm(0.1),
        curvature_jax.scale_by_natural_gradient(apply, CLASSES, **options),
        optax.scale_by_learning_rate(0.3),
    )
    updates, state = jax.jit(chain.update)(grads, chain.init(params()), params(), data=data)
    norm = float(optax.tree.norm(grads))
    assert norm > 0.1
    diagonal = cv.approximate(cv.Fisher(cv.Problem((apply, params()), CLASSES, data)), "diagonal")
    expected = diagonal.solve(jax.tree.map(lambda a: a * (0.1 / norm), grads), damping=0.1)
    same(updates, jax.tree.map(lambda a: -0.3 * a, expected), 1e-12)
    assert int(state[1].step) == 1


def test_quadratic_minimisers_of_parallel_and_short_directions():
    from curvature_jax.step_rules import minimiser

    r = np.random.default_rng(0)
    root, slopes = r.standard_normal((2, 2)), r.standard_normal(2)
    gram = root @ root.T
    np.testing.assert_allclose(minimiser(jnp.asarray(gram), jnp.asarray(slopes)), -np.linalg.solve(gram, slopes), rtol=1e-10)
    # In float32 the products of these squares underflow.
    tiny = np.float32(1e-22)
    found = minimiser(jnp.asarray(gram * tiny, jnp.float32), jnp.asarray(slopes * tiny, jnp.float32))
    np.testing.assert_allclose(found, -np.linalg.solve(gram, slopes), rtol=1e-4)
    for parallel in ([[2.0, 4.0], [4.0, 8.0]], [[2.0, 0.0], [0.0, 0.0]]):
        np.testing.assert_allclose(minimiser(jnp.asarray(parallel), jnp.asarray([3.0, 0.0])), [-1.5, 0.0])
