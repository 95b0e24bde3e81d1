"""KFRA against its recursion by hand, where it is exact, and networks for which it is not defined (MATH §1.9)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import curvature as cv
from curvature import nn
from curvature_kronecker import chain


def relu(h):
    return np.maximum(h, 0), (h > 0).astype(float)


def tanh(h):
    return np.tanh(h), 1 - np.tanh(h) ** 2


def linear(h):
    return h, np.ones_like(h)


FUNCTIONS = {
    "relu": (nn.relu, relu),
    "tanh": (lambda h: cv.namespace(h).tanh(h), tanh),
    "linear": (lambda h: h, linear),
}


def weights_of(rng, sizes, scale=1.0):
    return [(scale * rng.standard_normal((o, i)), scale * rng.standard_normal(o)) for i, o in pairwise(sizes)]


def task_of(be, layers, data, function, likelihood, rows=True):
    """Weights stored (d_out, d_in) with ``rows``, else (d_in, d_out)."""

    def apply(params, x):
        xp = cv.namespace(x)
        for index, (w, b) in enumerate(params):
            x = x @ (xp.matrix_transpose(w) if rows else w) + b
            x = function(x) if index < len(params) - 1 else x
        return x

    params = [(be.asarray(w if rows else np.ascontiguousarray(w.T)), be.asarray(b)) for w, b in layers]
    return cv.Problem(cv.Model(apply, params), likelihood, tuple(be.asarray(a) for a in data))


def by_hand(layers, x, function, root, weights):
    """A_l = E[ā āᵀ] and G_l = (Wᵀ G_{l+1} W) ∘ E[φ'φ'ᵀ], from S_n (N, C, R) with the weights in it."""
    a, inputs, slopes = x, [], []
    for w, b in layers:
        inputs.append(np.concatenate([a, np.ones((len(a), 1))], axis=1))
        a, slope = function(a @ w.T + b)
        slopes.append(slope)
    g = np.einsum("ncr,ndr->cd", root, root)
    factors = []
    for position in reversed(range(len(layers))):
        if position < len(layers) - 1:
            w = layers[position + 1][0]
            g = (w.T @ g @ w) * np.einsum("n,ni,nj->ij", weights, slopes[position], slopes[position])
        factors.insert(0, (np.einsum("n,ni,nj->ij", weights, inputs[position], inputs[position]), g))
    return factors


def softmax_root(f, weights):
    p = np.exp(f - f.max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True)
    root = np.sqrt(p)[:, :, None] * np.eye(p.shape[1]) - p[:, :, None] * np.sqrt(p)[:, None, :]
    return root * np.sqrt(weights)[:, None, None]


def outputs(layers, x, function):
    for index, (w, b) in enumerate(layers):
        x = x @ w.T + b
        x = function(x)[0] if index < len(layers) - 1 else x
    return x


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_recursion_by_hand(be, generator, name, rows, weighted):
    ours, theirs = FUNCTIONS[name]
    layers = weights_of(generator, (4, 6, 5, 3), 0.7)
    n = 9
    x, y = generator.standard_normal((n, 4)), generator.integers(0, 3, n)
    w = generator.uniform(0, 2, n) if weighted else np.ones(n)
    data = (x, y, w) if weighted else (x, y)
    task = task_of(be, layers, data, ours, cv.Categorical(), rows)
    share = w / w.sum()
    expected = by_hand(layers, x, theirs, softmax_root(outputs(layers, x, theirs), share), share)
    for matrix in (cv.Fisher(task), cv.GGN(task)):
        for block, (a, g) in zip(cv.approximate(matrix, "kfra").blocks.values(), expected, strict=True):
            factors = [be.to_numpy(f.array) for f in block.factors]
            found_g, found_a = factors if rows else factors[::-1]
            np.testing.assert_allclose(found_a, a, rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(found_g, g, rtol=1e-9, atol=1e-11)


def test_several_batches(be, generator):
    layers = weights_of(generator, (4, 6, 5, 3), 0.7)
    x, y = generator.standard_normal((9, 4)), generator.integers(0, 3, 9)
    task = task_of(be, layers, (x, y), nn.relu, cv.Categorical())
    parts = task.at(data=[tuple(be.asarray(a[i:j]) for a in (x, y)) for i, j in ((0, 4), (4, 9))])
    one, two = (be.to_numpy(cv.approximate(cv.Fisher(t), "kfra").to_dense()) for t in (task, parts))
    np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-11)


def gaps(task, method, matrix=cv.Fisher):
    """Relative errors of the blocks of a method."""
    be, operator = task.backend, cv.approximate(matrix(task), method)
    whole = be.to_numpy(matrix(task).to_dense())
    order = task.structure.partition.gather(np, np.arange(whole.shape[0])[:, None])
    found = []
    for layer, rows in zip(task.structure.layers, order, strict=True):
        exact = whole[np.ix_(rows[:, 0], rows[:, 0])]
        found.append(np.linalg.norm(be.to_numpy(operator.block(layer.name).to_dense()) - exact) / np.linalg.norm(exact))
    return found


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_exact_for_one_example(be, generator, name):
    layers = weights_of(generator, (4, 6, 5, 3), 0.7)
    data = generator.standard_normal((1, 4)), generator.integers(0, 3, 1)
    assert max(gaps(task_of(be, layers, data, FUNCTIONS[name][0], cv.Categorical()), "kfra")) < 1e-12


def test_exact_for_a_deep_linear_network_with_squared_error(be, generator):
    layers = weights_of(generator, (4, 6, 5, 3))
    data = generator.standard_normal((7, 4)), generator.standard_normal((7, 3))
    assert max(gaps(task_of(be, layers, data, lambda h: h, cv.Gaussian(0.5)), "kfra")) < 1e-12


def test_it_is_kflr_at_the_last_layer_and_another_before(be, generator):
    layers = weights_of(generator, (4, 6, 5, 3), 0.7)
    data = generator.standard_normal((7, 4)), generator.integers(0, 3, 7)
    task = task_of(be, layers, data, FUNCTIONS["tanh"][0], cv.Categorical())
    one, two = (cv.approximate(cv.Fisher(task), method) for method in ("kfra", "kflr"))
    ratios = []
    for name in one.blocks:
        a, b = (be.to_numpy(op.blocks[name].to_dense()) for op in (one, two))
        ratios.append(np.linalg.norm(a - b) / np.linalg.norm(b))
    assert ratios[-1] < 1e-14
    assert min(ratios[:-1]) > 1e-3


def test_a_single_layer_of_any_kind_is_kflr(be, generator):
    def convolution(params, x):
        return cv.namespace(x).sum(nn.conv2d(x, params["c"]), axis=(2, 3))

    def vector(params, x):
        return (x @ params["w"])[:, None] * cv.namespace(x).asarray([[1.0, -1.0]], dtype=x.dtype)

    for apply, shapes, x_shape in ((convolution, {"c": (2, 1, 2, 2)}, (5, 1, 3, 3)), (vector, {"w": (3,)}, (5, 3))):
        matrix = _two(be, generator, apply, shapes, x_shape)
        one, two = (be.to_numpy(cv.approximate(matrix, method).to_dense()) for method in ("kfra", "kflr"))
        np.testing.assert_array_equal(one, two)


def test_examples_for_which_a_later_layer_is_off(be, generator):
    """No gradient comes back for them, yet the slopes of the layer before count in E[φ'φ'ᵀ]."""
    layers = weights_of(generator, (3, 4, 2, 2))
    layers[1] = (layers[1][0], np.array([-1.0, -1.5]))
    n = 12
    x, y = generator.standard_normal((n, 3)), generator.integers(0, 2, n)
    hidden = outputs(layers[:2], x, relu)
    assert np.sum(np.all(hidden <= 0, axis=1)) >= 2
    task = task_of(be, layers, (x, y), nn.relu, cv.Categorical())
    share = np.full(n, 1 / n)
    expected = by_hand(layers, x, relu, softmax_root(outputs(layers, x, relu), share), share)
    for block, (_, g) in zip(cv.approximate(cv.Fisher(task), "kfra").blocks.values(), expected, strict=True):
        np.testing.assert_allclose(be.to_numpy(block.factors[0].array), g, rtol=1e-9, atol=1e-11)


def test_a_unit_that_the_next_layer_ignores(be, generator):
    layers = weights_of(generator, (3, 4, 2))
    layers[1][0][:, 2] = 0.0
    data = generator.standard_normal((6, 3)), generator.integers(0, 2, 6)
    task = task_of(be, layers, data, FUNCTIONS["tanh"][0], cv.Categorical())
    g = be.to_numpy(next(iter(cv.approximate(cv.Fisher(task), "kfra").blocks.values())).factors[0].array)
    assert np.all(g[2] == 0)
    assert np.all(np.diag(g)[[0, 1, 3]] > 0)


def _two(be, rng, apply, shapes, x_shape=(5, 3)):
    params = {name: be.asarray(rng.standard_normal(shape)) for name, shape in shapes.items()}
    data = be.asarray(rng.standard_normal(x_shape)), be.asarray(rng.integers(0, 2, x_shape[0]))
    return cv.Fisher(cv.Problem(cv.Model(apply, params), cv.Categorical(), data))


def _skip(params, x):
    h = cv.namespace(x).tanh(x @ params["a"])
    return (h + cv.namespace(x).tanh(h @ params["b"])) @ params["c"]


def _coupled(params, x):
    return nn.softmax(x @ params["a"]) @ params["c"]


def _parallel(params, x):
    return cv.namespace(x).tanh(x @ params["a"]) @ params["c"] + x @ params["d"]


def _tied(params, x):
    return cv.namespace(x).tanh(x @ params["b"]) @ params["b"] @ params["c"]


def _convolution(params, x):
    return cv.namespace(x).sum(nn.conv2d(x, params["a"]), axis=(2, 3)) @ params["c"]


def _scaled(params, x):
    return (cv.namespace(x).tanh(x @ params["b"]) * params["s"]) @ params["c"]


SQUARE, OUT = {"a": (3, 3), "b": (3, 3), "c": (3, 2)}, {"c": (3, 2)}
NO_CHAINS = {
    "a skip connection": (_skip, SQUARE, (5, 3), "elementwise function and the next affine layer alone"),
    "units that depend on each other": (_coupled, {"a": (3, 3)} | OUT, (5, 3), "elementwise function"),
    "two branches": (_parallel, {"a": (3, 3), "d": (3, 2)} | OUT, (5, 3), "'kflr' or 'kfac'"),
    "tied weights": (_tied, {"b": (3, 3)} | OUT, (5, 3), "used 2 times"),
    "shared positions": (_convolution, {"a": (3, 1, 2, 2)} | OUT, (5, 1, 3, 3), "shared over 4 positions"),
    "a scale": (_scaled, {"b": (3, 3), "s": (3,)} | OUT, (5, 3), "layer 's' is 'scale'"),
}


@pytest.mark.parametrize("case", NO_CHAINS)
def test_networks_that_are_no_chains_are_refused(be, generator, case):
    apply, shapes, x_shape, message = NO_CHAINS[case]
    with pytest.raises(cv.UnsupportedError, match=message):
        cv.approximate(_two(be, generator, apply, shapes, x_shape), "kfra")


def test_what_is_not_exact_is_refused(generator):
    be = cv.backend("numpy")
    task = task_of(be, weights_of(generator, (3, 2)), (np.ones((2, 3)), np.array([0, 1])), nn.relu, cv.Categorical())
    with pytest.raises(cv.UnsupportedError, match=r"'kfra' propagates an exact root.*'kfac'"):
        cv.approximate(cv.MonteCarloFisher(task), "kfra")
    assert cv.approximation("kfra").merges == "approximate"


def test_float32_has_the_slopes_to_its_precision(generator):
    be = cv.backend("numpy", dtype="float32")
    layers = weights_of(generator, (20, 64, 64, 5), 0.2)
    x, y = generator.standard_normal((50, 20)), generator.integers(0, 5, 50)
    task = task_of(be, layers, (x, y), nn.relu, cv.Categorical())
    share = np.full(50, 1 / 50)
    expected = by_hand(layers, x, relu, softmax_root(outputs(layers, x, relu), share), share)
    for block, (_, g) in zip(cv.approximate(cv.Fisher(task), "kfra").blocks.values(), expected, strict=True):
        found = block.factors[0].array
        assert found.dtype == np.float32
        assert np.linalg.norm(found - g) < 1e-4 * np.linalg.norm(g)


def test_cotangents_that_cancel_by_chance_refuse_no_network():
    """Of many units some are met by next to nothing in float32, and their slopes are found in another way."""
    be, rng = cv.backend("numpy", dtype="float32"), np.random.default_rng(0)
    layers = [(w / len(w[0]) ** 0.5, b) for w, b in weights_of(rng, [8, 400, 300, 4])]
    data = rng.standard_normal((256, 8)), rng.integers(0, 4, 256)
    unknown, original = [], chain._quotient

    def counted(*arguments):
        slopes, known = original(*arguments)
        unknown.append(int(np.sum(~known)))
        return slopes, known

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "_quotient", counted)
        found = cv.approximate(cv.GGN(task_of(be, layers, data, nn.relu, cv.Categorical())), "kfra")
    assert sum(unknown) > 0
    assert found.dtype == np.float32


def test_outputs_that_are_scaled_after_the_last_layer(be, generator):
    """Then the factor at the last layer is that of what arrives there."""
    layers = weights_of(generator, (3, 4, 2))
    x, y = generator.standard_normal((6, 3)), generator.integers(0, 2, 6)

    def scaled(params, x):
        xp = cv.namespace(x)
        (w, b), (v, c) = params
        return 3.0 * (xp.tanh(x @ xp.matrix_transpose(w) + b) @ xp.matrix_transpose(v) + c)

    params = [(be.asarray(w), be.asarray(b)) for w, b in layers]
    fisher = cv.Fisher(cv.Problem(cv.Model(scaled, params), cv.Categorical(), (be.asarray(x), be.asarray(y))))
    found, expected = cv.approximate(fisher, ["kfra", "kflr"])
    last = list(found.blocks)[-1]
    np.testing.assert_allclose(
        be.to_numpy(found.blocks[last].to_dense()), be.to_numpy(expected.blocks[last].to_dense()), rtol=1e-11
    )
