"""Equinox modules, which are written for one example."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import curvature as cv
import curvature_jax

TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 7, (5, 4)))
X = jnp.asarray(np.random.default_rng(1).standard_normal((5, 3)))
Y = jnp.asarray([0, 1, 2, 1, 0])


class Block(eqx.Module):
    embed: eqx.nn.Embedding
    positions: jax.Array
    norms: list
    attention: eqx.nn.MultiheadAttention
    mlp: eqx.nn.MLP
    head: eqx.nn.Linear
    width: int = eqx.field(static=True)

    def __init__(self, d=6):
        keys = jax.random.split(jax.random.key(0), 5)
        self.embed = eqx.nn.Embedding(7, d, key=keys[0])
        self.positions = jax.random.normal(keys[1], (4, d))
        self.norms = [eqx.nn.LayerNorm(d), eqx.nn.LayerNorm(d)]
        self.attention = eqx.nn.MultiheadAttention(2, d, use_query_bias=True, use_output_bias=True, key=keys[2])
        self.mlp = eqx.nn.MLP(d, d, 8, 1, activation=jax.nn.gelu, key=keys[3])
        self.head = eqx.nn.Linear(d, 3, key=keys[4])
        self.width = d

    def __call__(self, tokens):
        h = jax.vmap(self.embed)(tokens) + self.positions
        n = jax.vmap(self.norms[0])(h)
        h = h + self.attention(n, n, n)
        h = h + jax.vmap(self.mlp)(jax.vmap(self.norms[1])(h))
        return self.head(jnp.mean(h, axis=0))


def call(module):
    """(params, x) -> outputs, parameters as nested dictionaries of our names."""
    arrays, static = eqx.partition(module, eqx.is_inexact_array)
    paths, structure = jax.tree_util.tree_flatten_with_path(arrays)

    def run(params, x):
        leaves = []
        for path, _ in paths:
            found = params
            for key in path:
                found = found[key.name if hasattr(key, "name") else key.idx]
            leaves.append(found)
        return jax.vmap(eqx.combine(jax.tree_util.tree_unflatten(structure, leaves), static))(x)

    return run


def test_a_transformer_block(against_dense, kinds):
    module = Block()
    problem = against_dense(module, call(module), TOKENS, Y)
    assert kinds(problem) == {
        "attention.key_proj.weight": "affine",
        "attention.output_proj.weight+attention.output_proj.bias": "affine",
        "attention.query_proj.weight+attention.query_proj.bias": "affine",
        "attention.value_proj.weight": "affine",
        "embed.weight": "embedding",
        "head.weight+head.bias": "affine",
        "mlp.layers.0.weight+mlp.layers.0.bias": "affine",
        "mlp.layers.1.weight+mlp.layers.1.bias": "affine",
        "norms.0.weight+norms.0.bias": "scale",
        "norms.1.weight+norms.1.bias": "scale",
        "positions": "shift",
    }


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions(groups, against_dense, kinds):
    class Images(eqx.Module):
        conv: eqx.nn.Conv2d
        head: eqx.nn.Linear

        def __init__(self):
            one, two = jax.random.split(jax.random.key(0))
            self.conv = eqx.nn.Conv2d(2, 4, (3, 2), stride=2, padding=1, groups=groups, key=one)
            self.head = eqx.nn.Linear(4, 3, key=two)

        def __call__(self, x):
            return self.head(jnp.mean(jnp.tanh(self.conv(x)), axis=(1, 2)))

    module, x = Images(), jnp.asarray(np.random.default_rng(4).standard_normal((5, 2, 6, 5)))
    problem = against_dense(module, call(module), x, Y)
    assert kinds(problem) == {"conv.weight+conv.bias": "affine" if groups == 1 else "grouped", "head.weight+head.bias": "affine"}


def test_a_recurrent_cell_is_refused_by_name(against_dense, kinds):
    class Recurrent(eqx.Module):
        cell: eqx.nn.GRUCell
        head: eqx.nn.Linear

        def __init__(self):
            one, two = jax.random.split(jax.random.key(0))
            self.cell, self.head = eqx.nn.GRUCell(3, 4, key=one), eqx.nn.Linear(4, 3, key=two)

        def __call__(self, x):
            h, _ = jax.lax.scan(lambda h, now: (self.cell(now, h), None), jnp.zeros(4), x)
            return self.head(h)

    x = jnp.asarray(np.random.default_rng(4).standard_normal((5, 2, 3)))
    module = Recurrent()
    with pytest.warns(cv.FallbackWarning, match="scan"):
        problem = against_dense(module, call(module), x, Y)
    found = kinds(problem)
    assert found["head.weight+head.bias"] == "affine"
    assert {kind for name, kind in found.items() if "cell" in name} == {"general"}


def linear():
    return eqx.nn.Linear(3, 3, key=jax.random.key(0))


def test_modules_as_parameters_of_a_function():
    """LayerNorm has an attribute called shape, and is a container all the same."""
    norm = eqx.nn.LayerNorm(3)
    model = cv.Model(lambda norm, x: jax.vmap(norm)(x), eqx.filter(norm, eqx.is_inexact_array))
    assert model.space.names == ("weight", "bias")
    problem = cv.Problem(model, cv.Categorical(), (X, Y))
    dense = cv.GGN(problem).to_dense()
    np.testing.assert_allclose(cv.approximate(cv.GGN(problem), "diagonal").diagonal(), np.diag(dense), rtol=1e-10)


def test_a_module_for_batches(kinds):
    class Batched(eqx.Module):
        inner: eqx.nn.Linear

        def __call__(self, x):
            return jax.vmap(self.inner)(x) if x.ndim == 2 else pytest.fail("called with one example")

    model = curvature_jax.as_model(Batched(linear()), by_example=False)
    problem = cv.Problem(model, cv.Categorical(), (X, Y))
    assert kinds(problem) == {"inner.weight+inner.bias": "affine"}


def test_frozen_parts_stay():
    """What is no floating JAX array is no parameter: NumPy arrays, integers, functions."""

    class Head(eqx.Module):
        body: np.ndarray
        order: jax.Array
        head: eqx.nn.Linear

        def __call__(self, x):
            return self.head(jnp.tanh(x @ self.body)[self.order])

    module = Head(np.random.default_rng(5).standard_normal((3, 3)).astype(np.float32), jnp.asarray([2, 0, 1]), linear())
    expected = jax.vmap(module)(X)
    model = cv.as_model(module)
    np.testing.assert_allclose(model(model.params, X), expected, rtol=1e-12)
    assert "order" not in " ".join(model.space.names)


def test_dropout_without_a_key_says_what_to_do(against_dense):
    class Dropping(eqx.Module):
        inner: eqx.nn.Linear
        dropout: eqx.nn.Dropout

        def __call__(self, x):
            return self.dropout(self.inner(x))

    module = Dropping(linear(), eqx.nn.Dropout(0.5))
    with pytest.raises(cv.ModelError, match="key"):
        cv.Problem(module, cv.Categorical(), (X, Y))
    against_dense(eqx.nn.inference_mode(module), lambda p, x: x @ p["inner"]["weight"].T + p["inner"]["bias"], X, Y)


def test_trained_parameters_go_back():
    module = linear()
    model = cv.as_model(module)
    doubled = cv.trees.tree_map(lambda a: 2 * a, model.params)
    trained = curvature_jax.update(module, doubled)
    np.testing.assert_allclose(jax.vmap(trained)(X), 2 * jax.vmap(module)(X), rtol=1e-12)
    with pytest.raises(cv.ShapeError, match="params"):
        curvature_jax.update(module, {"weight": doubled["weight"]})


def test_another_object_is_no_module():
    for call_ in (lambda: curvature_jax.as_model(object()), lambda: curvature_jax.update(object(), {})):
        with pytest.raises(cv.UnsupportedError, match=r"neither a Flax NNX nor an Equinox module"):
            call_()
    with pytest.raises(cv.UnsupportedError, match="object"):
        cv.as_model(object())
