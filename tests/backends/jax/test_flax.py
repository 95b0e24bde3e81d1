"""Flax NNX modules."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import curvature as cv
import curvature_jax

TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 7, (5, 4)))
X = jnp.asarray(np.random.default_rng(1).standard_normal((5, 3)))
Y = jnp.asarray([0, 1, 2, 1, 0])


def options(seed=0):
    return {"rngs": nnx.Rngs(seed), "param_dtype": jnp.float64}


def attention(query, key, value, **_):
    """In float64: what Flax takes by default has its softmax in float32."""
    scores = jnp.einsum("nqhd,nkhd->nhqk", query, key) / query.shape[-1] ** 0.5
    return jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(scores), value)


class Block(nnx.Module):
    """Embedding, class token, positions, attention, MLP; both with residuals and layer norms before them."""

    def __init__(self, d=6):
        k = options()
        self.embed = nnx.Embed(7, d, **k)
        self.positions = nnx.Param(jnp.asarray(np.random.default_rng(2).standard_normal((4, d))))
        self.token = nnx.Param(jnp.asarray(np.random.default_rng(3).standard_normal((1, 1, d))))
        self.norms = (
            nnx.List([nnx.LayerNorm(d, **k), nnx.LayerNorm(d, **k)])
            if hasattr(nnx, "List")
            else [nnx.LayerNorm(d, **k), nnx.LayerNorm(d, **k)]
        )
        self.attention = nnx.MultiHeadAttention(2, d, decode=False, attention_fn=attention, **k)
        self.up, self.down = nnx.Linear(d, 8, **k), nnx.Linear(8, d, **k)
        self.head = nnx.Linear(d, 3, use_bias=False, **k)

    def __call__(self, tokens):
        h = self.embed(tokens) + self.positions[...]
        h = jnp.concatenate([jnp.tile(self.token[...], (len(tokens), 1, 1)), h], axis=1)
        h = h + self.attention(self.norms[0](h))
        h = h + self.down(jax.nn.gelu(self.up(self.norms[1](h))))
        return self.head(h[:, 0])


def call(module):
    """(params, x) -> outputs by ``nnx.merge`` alone, parameters as nested dictionaries of our names."""
    graph, state, rest = nnx.split(module, nnx.Param, ...)
    paths, structure = jax.tree_util.tree_flatten_with_path(state)

    def run(params, *inputs):
        leaves = []
        for path, _ in paths:
            found = params
            for key in path:
                name = getattr(key, "key", getattr(key, "idx", getattr(key, "name", None)))
                if isinstance(found, dict):
                    found = found[name]
            leaves.append(found)
        return nnx.merge(graph, jax.tree_util.tree_unflatten(structure, leaves), rest)(*inputs)

    return run


def test_a_transformer_block(against_dense, kinds):
    module = Block()
    problem = against_dense(module, call(module), TOKENS, Y)
    assert kinds(problem) == {
        "attention.key.kernel+attention.key.bias": "affine",
        "attention.out.kernel+attention.out.bias": "affine",
        "attention.query.kernel+attention.query.bias": "affine",
        "attention.value.kernel+attention.value.bias": "affine",
        "down.kernel+down.bias": "affine",
        "embed.embedding": "embedding",
        "head.kernel": "affine",
        "norms.0.bias": "shift",
        "norms.0.scale": "scale",
        "norms.1.bias": "shift",
        "norms.1.scale": "scale",
        "positions": "shift",
        "token": "shift",
        "up.kernel+up.bias": "affine",
    }


class Images(nnx.Module):
    def __init__(self):
        k = options()
        self.conv = nnx.Conv(2, 4, (3, 3), strides=2, padding="SAME", **k)
        self.depthwise = nnx.Conv(4, 4, (2, 2), feature_group_count=4, **k)
        self.norm = nnx.BatchNorm(4, use_running_average=True, **k)
        self.head = nnx.Linear(4, 3, **k)

    def __call__(self, x):
        return self.head(jnp.mean(jnp.tanh(self.norm(self.depthwise(self.conv(x)))), axis=(1, 2)))


def test_convolutions_and_batch_norm_in_evaluation(against_dense, kinds):
    module = Images()
    module.norm.mean[...] = jnp.asarray([0.1, -0.2, 0.3, 0.0], jnp.float32)
    x = jnp.asarray(np.random.default_rng(4).standard_normal((5, 6, 5, 2)))
    problem = against_dense(module, call(module), x, Y)
    assert kinds(problem) == {
        "conv.kernel+conv.bias": "affine",
        "depthwise.kernel+depthwise.bias": "grouped",
        "head.kernel+head.bias": "affine",
        "norm.scale+norm.bias": "scale",
    }


@pytest.mark.filterwarnings("ignore:scatter inputs have incompatible types:FutureWarning")  # Flax keeps its statistics in float32
def test_batch_norm_in_training_is_noticed_and_the_module_is_left_alone():
    module = Images()
    module.norm.use_running_average = False
    x = jnp.asarray(np.random.default_rng(4).standard_normal((5, 6, 5, 2)))
    before = np.asarray(module.norm.mean[...]).copy()
    problem = cv.Problem(module, cv.Categorical(), (x, Y))
    problem.gradient()
    with pytest.raises(cv.ModelError, match="couples its examples"):
        cv.approximate(cv.Fisher(problem), "kfac")
    np.testing.assert_array_equal(module.norm.mean[...], before)
    assert not isinstance(module.norm.mean[...], jax.core.Tracer)


class Small(nnx.Module):
    def __init__(self, rate=0.0):
        self.first, self.second = nnx.Linear(3, 4, **options()), nnx.Linear(4, 3, **options(1))
        self.dropout = nnx.Dropout(rate, rngs=nnx.Rngs(0))

    def __call__(self, x, scale=1.0):
        return self.second(self.dropout(jnp.tanh(self.first(x)))) * scale


def test_a_recurrent_layer_whose_first_carry_draws_a_key_and_does_not_use_it():
    class Recurrent(nnx.Module):
        def __init__(self):
            self.body = nnx.RNN(nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0), param_dtype=jnp.float64))
            self.head = nnx.Linear(4, 3, **options())

        def __call__(self, x):
            return self.head(self.body(x)[:, -1])

    x = jnp.asarray(np.random.default_rng(3).standard_normal((5, 2, 3)))
    module = Recurrent()
    problem = cv.Problem(module, cv.Categorical(), (x, Y))
    expected = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(module(x)), Y[:, None], axis=1))
    np.testing.assert_allclose(problem.loss(), expected, rtol=1e-12)


def test_dropout_in_training_is_refused(against_dense):
    with pytest.raises(cv.ModelError, match=r"Flax NNX module Small draws random numbers.*module.eval\(\)"):
        cv.Problem(Small(0.5), cv.Categorical(), (X, Y))
    module = Small(0.5)
    module.eval()
    against_dense(module, call(module), X, Y)


def test_named_and_several_inputs(kinds):
    module = Small()
    scale = jnp.asarray([[1.0], [2.0], [3.0], [0.5], [1.0]])
    expected = module(X, scale)
    for x in ({"x": X, "scale": scale}, (X, scale)):
        model = cv.as_model(module)
        np.testing.assert_allclose(model(model.params, x), expected, rtol=1e-12)
    problem = cv.Problem(module, cv.Categorical(), ({"x": X, "scale": scale}, Y))
    assert kinds(problem) == {"first.kernel+first.bias": "affine", "second.kernel+second.bias": "affine"}


def test_outputs_by_name():
    class Named(nnx.Module):
        def __init__(self):
            self.inner = Small()

        def __call__(self, x):
            return {"logits": self.inner(x), "features": x}

    for output in (None, "logits", lambda found: found["logits"]):
        model = cv.as_model(Named(), output=output)
        np.testing.assert_allclose(model(model.params, X), Small()(X), rtol=1e-12)
    with pytest.raises(cv.ModelError, match="'logits', 'features'"):
        cv.as_model(Named(), output="hidden")(model.params, X)


def test_trained_parameters_go_back():
    module = Small()
    model = cv.as_model(module)
    doubled = cv.trees.tree_map(lambda a: 2 * a, model.params)
    expected = model(doubled, X)
    assert float(jnp.max(jnp.abs(module(X) - expected))) > 0.1
    assert curvature_jax.update(module, doubled) is module
    np.testing.assert_allclose(module(X), expected, rtol=1e-12)
    with pytest.raises(cv.ShapeError, match="params"):
        curvature_jax.update(module, {"first": doubled["first"]})


def test_a_shared_layer_is_one_layer(against_dense):
    class Shared(nnx.Module):
        def __init__(self):
            self.a = nnx.Linear(3, 3, **options())
            self.b = self.a

        def __call__(self, x):
            return self.b(jnp.tanh(self.a(x)))

    module = Shared()
    problem = against_dense(module, call(module), X, Y)
    (layer,) = problem.structure.layers
    assert (layer.kind, len(layer.uses)) == ("affine", 2)


def test_variables_that_are_no_parameters_stay(against_dense, kinds):
    class Frozen(nnx.Variable):
        pass

    class Head(nnx.Module):
        def __init__(self):
            self.body = Frozen(jnp.asarray(np.random.default_rng(5).standard_normal((3, 4))))
            self.head = nnx.Linear(4, 3, **options())

        def __call__(self, x):
            return self.head(jnp.tanh(x @ self.body[...]))

    assert kinds(against_dense(Head(), call(Head()), X, Y)) == {"head.kernel+head.bias": "affine"}


def test_a_module_without_parameters():
    class Empty(nnx.Module):
        def __call__(self, x):
            return x

    with pytest.raises(cv.DataError, match="Empty has no parameters"):
        cv.as_model(Empty())


def test_training_by_natural_gradient():
    """The module, trained, is the model that was trained."""
    module = Small()
    problem = cv.Problem(module, cv.Categorical(), (X, Y))
    optimiser = cv.NaturalGradient("kfac", damping=cv.LevenbergMarquardt(1.0))
    state, params = optimiser.init(problem), problem.params
    for _ in range(6):
        params, state, _ = optimiser.step(params, state, (X, Y))
    before, after = problem.loss(), problem.at(params).loss()
    assert float(after) < 0.7 * float(before)
    curvature_jax.update(module, params)
    np.testing.assert_allclose(cv.Problem(module, cv.Categorical(), (X, Y)).loss(), after, rtol=1e-12)
