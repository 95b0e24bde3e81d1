"""What the Optax transformation takes and refuses, and what it trains."""

from __future__ import annotations

import subprocess
import sys

import equinox
import jax
import jax.numpy as jnp
import pytest
from flax import linen, nnx

import curvature as cv
import curvature_jax

from .optax_cases import CLASSES, apply, batch, params, same


class Third:
    initial = 1.0
    interval = 1

    def update(self, damping, ratio):
        return damping

    def choose(self, along):
        return [1.0]

    def shrink(self, along, coefficients):
        return 1.0


@pytest.mark.parametrize(
    ("options", "works"),
    [
        ({"damping": cv.DelayedGratification()}, "LevenbergMarquardt"),
        ({"damping": cv.DampingSearch()}, "LevenbergMarquardt"),
        ({"damping": Third()}, "schedule"),
        ({"learning_rate": cv.Backtracking()}, '"smoothed"'),
        ({"learning_rate": cv.LineSearch()}, '"quadratic"'),
        ({"learning_rate": Third()}, "schedule"),
        ({"learning_rate": 1.0, "momentum": cv.Spring()}, r"\[0, 1\)"),
        ({"trust_region": Third()}, "KLTrustRegion"),
        ({"acceleration": Third()}, "GeodesicAcceleration"),
        ({"refresh_every": cv.optim.Drift()}, "positive integer"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_rules_that_are_python_are_refused(options, works):
    with pytest.raises(cv.UnsupportedError, match=f"{works}.*curvature.NaturalGradient"):
        curvature_jax.natural_gradient(apply, CLASSES, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"damping": -1.0}, "damping"),
        ({"learning_rate": 0.0}, "learning rate"),
        ({"learning_rate": 1.0, "momentum": 1.0}, "momentum"),
        ({"momentum": 0.5}, "number or a schedule"),
        ({"trust_region": -1.0}, "trust_region"),
        ({"decay": 1.0}, "decay"),
        ({"l2": -1.0}, "l2"),
        ({"statistics_every": 0}, "statistics_every"),
        ({"refresh_every": 0.5}, "refresh_every"),
        ({"seed": -1}, "seed"),
        ({"fisher": "other"}, "fisher"),
        ({"approximation": 3}, "approximation"),
        ({"data": 3}, "batch"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(cv.DataError, match=message):
        curvature_jax.natural_gradient(apply, CLASSES, **options)


def test_what_is_no_model_or_likelihood():
    with pytest.raises(cv.DataError, match="apply"):
        curvature_jax.natural_gradient(3, CLASSES)
    with pytest.raises(cv.DataError, match="likelihood"):
        curvature_jax.natural_gradient(apply, cv.Categorical)


@pytest.mark.parametrize("missing", ["params", "data"])
def test_parameters_and_data_are_needed(missing):
    optimizer = curvature_jax.natural_gradient(apply, CLASSES)
    given = {"params": params(), "data": batch(0)} | {missing: None}
    with pytest.raises(cv.DataError, match=missing):
        optimizer.update(params(), optimizer.init(params()), **given)


def test_statistics_that_grow_are_refused():
    optimizer = curvature_jax.natural_gradient(apply, CLASSES, approximation="sample-space", fisher="exact", data=batch(0))
    with pytest.raises(cv.UnsupportedError, match="decay=0"):
        optimizer.update(params(), optimizer.init(params()), params(), data=batch(0))


def test_optax_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "optax", None)
    with pytest.raises(cv.UnsupportedError, match="pip install optax"):
        curvature_jax.natural_gradient(apply, CLASSES)


def test_importing_the_package_imports_neither_jax_nor_optax():
    code = "import curvature_jax, sys; print({'jax', 'optax'} & set(sys.modules), 'natural_gradient' in curvature_jax.__all__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set() True\n"
    with pytest.raises(AttributeError, match="nothing"):
        curvature_jax.nothing


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.a = nnx.Linear(2, 3, rngs=rngs, param_dtype=jnp.float64)
        self.b = nnx.Linear(3, 2, rngs=rngs, param_dtype=jnp.float64)

    def __call__(self, x):
        return self.b(jnp.tanh(self.a(x)))


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(2, param_dtype=jnp.float64)(x)


def with_nnx():
    module = Nnx(nnx.Rngs(0))
    graph, trained, rest = nnx.split(module, nnx.Param, ...)
    return module, trained, lambda p, x: nnx.merge(graph, p, rest)(x)


def with_equinox():
    module = equinox.nn.MLP(2, 2, 3, 1, key=jax.random.key(0), activation=jnp.tanh)
    trained, static = equinox.partition(module, equinox.is_inexact_array)
    return module, trained, lambda p, x: jax.vmap(equinox.combine(p, static))(x)


def with_linen():
    module = Linen()
    variables = module.init(jax.random.key(0), batch(0)[0])
    return module, variables["params"], lambda p, x: module.apply({"params": p}, x)


@pytest.mark.parametrize("make", [with_nnx, with_equinox, with_linen], ids=lambda make: make.__name__)
def test_parameters_as_the_framework_splits_them_off(make):
    """The update is that of the same function as ``apply(params, x)``, in the container of the parameters."""
    module, trained, call = make()
    x, y = batch(0)
    grads = jax.grad(lambda p: -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(call(p, x)), y[:, None], 1)))(trained)
    options = {
        "approximation": "diagonal",
        "fisher": "exact",
        "damping": 0.1,
        "learning_rate": 1.0,
        "momentum": 0.5,
        "data": (x, y),
    }
    optimizer = curvature_jax.natural_gradient(module, CLASSES, **options)
    updates, state = optimizer.update(grads, optimizer.init(trained), trained, data=(x, y))
    assert jax.tree.structure(updates) == jax.tree.structure(trained) == jax.tree.structure(state.velocity)
    flat, structure = jax.tree.flatten(trained)
    problem = cv.Problem((lambda p, x: call(jax.tree.unflatten(structure, p), x), flat), CLASSES, (x, y))
    expected = cv.approximate(cv.Fisher(problem), "diagonal").solve(jax.tree.leaves(grads), damping=0.1)
    same(jax.tree.leaves(updates), [-a for a in expected], 1e-10)
    if make is not with_linen:
        with pytest.raises(cv.DataError, match="not the parameters"):
            optimizer.init({"other": x})
