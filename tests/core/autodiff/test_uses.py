"""Parameter uses found in plain functions: what is recognised, what is not, and that the parts make the gradient."""

from __future__ import annotations

import numpy as np
import pytest

from curvature import autodiff
from curvature.autodiff.uses import parameter_uses
from curvature.backend import namespace
from curvature.errors import DifferentiationError, ShapeError


def check(lib, f, params, x, *, columns=3):
    """The uses, after checking that they make the gradient of every fully recognised parameter."""
    untouched = {name: np.array(np.asarray(p)) for name, p in params.items()}
    uses = parameter_uses(f, params, x)
    assert not isinstance(uses.outputs, autodiff.Traced)
    y, pull = autodiff.vjp(lambda p: f(p, autodiff.lift(x)), params)
    np.testing.assert_array_equal(np.asarray(uses.outputs), np.asarray(y))
    seeds = lib.normal(columns, *y.shape, seed=9)
    cotangents = uses.cotangents(seeds)
    assert len(cotangents) == len(uses.uses)
    for r in range(columns):
        seed = seeds[r, ...]
        expected = pull(seed)
        tree, together = uses.pull_both(seed)
        for name in params:
            for gradient in (tree[name], uses.pull(seed)[name]):
                np.testing.assert_allclose(np.asarray(gradient), np.asarray(expected[name]), rtol=1e-12, atol=1e-13)
        for a, b in zip(cotangents, together, strict=True):
            np.testing.assert_allclose(np.asarray(a)[r], np.asarray(b)[0], rtol=1e-12, atol=1e-13)
        parts = {name: np.zeros(np.shape(np.asarray(p))) for name, p in params.items()}
        for use, g in zip(uses.uses, cotangents, strict=True):
            assert not isinstance(use.inputs, autodiff.Traced)
            assert g.shape[:2] == (columns, y.shape[0])
            g = np.asarray(g)[r]
            _add_use(parts, use, g.reshape(-1, g.shape[-1]))
        for name, part in parts.items():
            if name not in uses.unrecognised:
                np.testing.assert_allclose(part, np.asarray(expected[name]), rtol=1e-11, atol=1e-12)
    for name, before in untouched.items():
        np.testing.assert_array_equal(before, np.asarray(params[name]))
    return uses


def _add_use(parts, use, g):
    """What one use gives to the gradients, by plain sums over the examples' positions g (N · T, d_out)."""
    part = parts[use.parameter]
    if use.kind == "shift":
        assert (use.inputs, use.matrix_shape) == (None, (1, g.shape[-1]))
        matrix = g.sum(0)
    elif use.kind == "scale":
        assert use.matrix_shape == (1, g.shape[-1])
        matrix = (np.asarray(use.inputs).reshape(g.shape) * g).sum(0)
    elif use.kind == "embedding":
        matrix = np.zeros(use.matrix_shape)
        np.add.at(matrix, np.asarray(use.inputs).reshape(-1), g)
    else:
        a = np.asarray(use.inputs).reshape(len(g), use.groups, -1)
        products = np.einsum("ngi,ngo->gio", a, g.reshape(len(g), use.groups, -1))
        matrix = products.transpose(0, 2, 1) if use.transposed else products.transpose(1, 0, 2)
        matrix = matrix.reshape(use.matrix_shape)
    if use.entries is None:
        part += matrix.reshape(part.shape)
    else:
        np.add.at(part.reshape(-1), np.asarray(use.entries), matrix.reshape(-1))
    if use.bias is not None:
        parts[use.bias] += g.sum(0).reshape(parts[use.bias].shape)


def summary(uses):
    return [(u.kind, u.parameter, u.bias, u.matrix_shape, u.transposed) for u in uses.uses]


def mlp_params(lib):
    return {"w1": lib.normal(3, 5), "b1": lib.normal(5), "w2": lib.normal(4, 5), "b2": lib.normal(4)}


def mlp(params, x):
    xp = namespace(params["w1"])
    h = xp.tanh(x @ params["w1"] + params["b1"])
    return params["b2"] + h @ params["w2"].T


@pytest.mark.parametrize("positions", [(), (7,), (2, 3)])
def test_perceptron(lib, positions):
    uses = check(lib, mlp, mlp_params(lib), lib.normal(6, *positions, 3))
    assert summary(uses) == [("linear", "w1", "b1", (3, 5), False), ("linear", "w2", "b2", (4, 5), True)]
    assert (dict(uses.unrecognised), uses.unused) == ({}, ())
    assert tuple(uses.cotangents(lib.normal(2, 6, *positions, 4))[0].shape) == (2, 6, *positions, 5)


def test_inputs_are_those_of_the_layer(lib):
    params, x = mlp_params(lib), lib.normal(6, 3)
    uses = parameter_uses(mlp, params, x)
    np.testing.assert_array_equal(np.asarray(uses.uses[0].inputs), np.asarray(x))
    hidden = np.tanh(np.asarray(x) @ np.asarray(params["w1"]) + np.asarray(params["b1"]))
    np.testing.assert_allclose(np.asarray(uses.uses[1].inputs), hidden, rtol=1e-14)


def test_cotangents_compute_no_weight_gradients(lib, monkeypatch):
    from curvature.autodiff.namespace import operations

    params, x = mlp_params(lib), lib.normal(6, 3)
    uses = parameter_uses(mlp, params, x)
    op = operations(x)
    counted, matmul = [], op.matmul
    monkeypatch.setattr(op, "matmul", lambda *a: counted.append(1) or matmul(*a))
    uses.cotangents(lib.normal(1, 6, 4))
    assert len(counted) == 1  # back through the second layer; none for either weight


def test_convolution_by_unfolding_with_a_reshaped_kernel(lib):
    def f(params, x):
        xp = namespace(params["kernel"])
        kernel = params["kernel"]
        patches = xp.concat([x[:, i : i + 3, j : j + 3, :] for i in range(2) for j in range(2)], axis=-1)
        flat = xp.reshape(patches, (x.shape[0], 9, 8))
        return flat @ xp.reshape(kernel, (3, -1)).T + params["bias"]

    params = {"kernel": lib.normal(3, 2, 2, 2), "bias": lib.normal(1, 3)}
    uses = check(lib, f, params, lib.normal(2, 4, 4, 2))
    assert summary(uses) == [("linear", "kernel", "bias", (3, 8), True)]
    assert not uses.unrecognised


@pytest.mark.parametrize(
    ("see", "transposed", "shape"),
    [
        (lambda xp, k: xp.reshape(xp.permute_dims(k, (1, 2, 3, 0)), (8, 3)), True, (3, 8)),
        (lambda xp, k: xp.matrix_transpose(xp.reshape(k, (3, 8))), True, (3, 8)),
        (lambda xp, k: xp.reshape(k, (3, 8)).T.T.T, True, (3, 8)),
        (lambda xp, k: xp.reshape(xp.reshape(k, (24,)), (8, 3)), False, (8, 3)),
        (lambda xp, k: xp.astype(xp.squeeze(xp.reshape(k, (1, 8, 3)), axis=0), k.dtype), False, (8, 3)),
    ],
)
def test_kernels_seen_as_matrices(lib, see, transposed, shape):
    def f(params, x):
        return x @ see(namespace(params["k"]), params["k"])

    uses = check(lib, f, {"k": lib.normal(3, 2, 2, 2)}, lib.normal(5, 8))
    assert summary(uses) == [("linear", "k", None, shape, transposed)]
    assert not uses.unrecognised


def test_a_kernel_whose_axes_are_mixed_is_a_matrix_of_its_entries(lib):
    def f(params, x):
        xp = namespace(params["k"])
        return x @ xp.reshape(xp.permute_dims(params["k"], (2, 1, 0)), (8, 3))

    uses = check(lib, f, {"k": lib.normal(3, 2, 4)}, lib.normal(5, 8))
    assert summary(uses) == [("linear", "k", None, (8, 3), False)]
    expected = np.arange(24).reshape(3, 2, 4).transpose(2, 1, 0).reshape(-1)
    np.testing.assert_array_equal(np.asarray(uses.uses[0].entries), expected)


def test_a_transpose_that_is_not_undone_at_the_same_place(lib):
    def f(params, x):
        xp = namespace(params["k"])
        return x @ xp.reshape(xp.permute_dims(xp.reshape(params["k"].T, (3, 4, 2)), (1, 2, 0)), (8, 3))

    uses = check(lib, f, {"k": lib.normal(2, 12)}, lib.normal(5, 8))
    assert summary(uses) == [("linear", "k", None, (8, 3), False)]
    assert uses.uses[0].entries is not None


def test_tied_weights_have_two_uses(lib):
    def f(params, x):
        xp = namespace(params["w"])
        return xp.tanh(x @ params["w"] + params["b"]) @ params["w"].T

    uses = check(lib, f, {"w": lib.normal(3, 5), "b": lib.normal(5)}, lib.normal(6, 3))
    assert summary(uses) == [("linear", "w", "b", (3, 5), False), ("linear", "w", None, (3, 5), True)]


def test_tensordot_is_a_matrix_product(lib):
    def f(params, x):
        return namespace(params["w"]).tensordot(x, params["w"], axes=1)

    uses = check(lib, f, {"w": lib.normal(3, 2, 2)}, lib.normal(6, 4, 3))
    assert summary(uses) == [("linear", "w", None, (3, 4), False)]
    assert tuple(uses.uses[0].inputs.shape) == (6, 4, 3)


def test_shift(lib):
    def f(params, x):
        h = x * 2.0 + params["shift"]
        return h * h + params["last"]

    uses = check(lib, f, {"shift": lib.normal(3), "last": lib.normal(1, 3)}, lib.normal(6, 2, 3))
    assert summary(uses) == [("shift", "shift", None, (1, 3), False), ("shift", "last", None, (1, 3), False)]


def test_a_product_that_is_used_twice_takes_no_bias(lib):
    """The bias reaches only one of the two consumers, so it is a shift of its own."""

    def f(params, x):
        s = x @ params["w"]
        return (s + params["b"]) * s

    uses = check(lib, f, {"w": lib.normal(3, 4), "b": lib.normal(4)}, lib.normal(6, 3))
    assert [(u.kind, u.bias) for u in uses.uses] == [("linear", None), ("shift", None)]


def test_two_vectors_added_to_one_product(lib):
    def f(params, x):
        return x @ params["w"] + params["b"] + params["c"]

    uses = check(lib, f, {"w": lib.normal(3, 4), "b": lib.normal(4), "c": lib.normal(4)}, lib.normal(6, 3))
    assert [(u.kind, u.parameter, u.bias) for u in uses.uses] == [("linear", "w", "b"), ("shift", "c", None)]


OTHER_WAYS = {
    "sum": lambda xp, w, x: (x @ w) * xp.sum(w),
    "left operand": lambda xp, w, x: xp.matrix_transpose(w @ xp.matrix_transpose(x)),
    "exp": lambda xp, w, x: x @ xp.exp(w),
    "divide": lambda xp, w, x: x @ (w / 2.0),
    "in the shape (3, 3)": lambda xp, w, x: x[:3, :] * w,
    "no axis of examples": lambda xp, w, x: xp.reshape(x[0, :] @ w, (1, -1)),
    "with an array of shape": lambda xp, w, x: x @ (w + w),
    "concat": lambda xp, w, x: x @ xp.concat([w, w], axis=1),
    "is an output itself": lambda xp, w, x: w,
}


@pytest.mark.parametrize("way", OTHER_WAYS)
def test_other_ways_are_unrecognised_with_a_reason(lib, way):
    def f(params, x):
        return OTHER_WAYS[way](namespace(params["w"]), params["w"], x)

    uses = check(lib, f, {"w": lib.normal(3, 3)}, lib.normal(6, 3))
    assert way in uses.unrecognised["w"]


def test_a_recognised_and_another_use_are_both_reported(lib):
    def f(params, x):
        xp = namespace(params["w"])
        return x @ params["w"] + 0.1 * xp.sum(params["w"] ** 2)

    uses = check(lib, f, {"w": lib.normal(3, 4)}, lib.normal(6, 3))
    assert summary(uses) == [("linear", "w", None, (3, 4), False)]
    assert "pow" in uses.unrecognised["w"]


def test_normalisation(lib):
    def f(params, x):
        xp = namespace(params["scale"])
        centred = x - xp.mean(x, axis=-1, keepdims=True)
        return centred / xp.std(x, axis=-1, keepdims=True) * params["scale"] + params["shift"]

    uses = check(lib, f, {"scale": lib.normal(3), "shift": lib.normal(3)}, lib.normal(6, 2, 3))
    assert summary(uses) == [("scale", "scale", "shift", (1, 3), False)]
    assert tuple(uses.uses[0].inputs.shape) == (6, 2, 3)


def test_a_scale_of_channels(lib):
    """Channels lie on the second axis: they become the last one, and the others positions."""

    def f(params, x):
        xp = namespace(params["scale"])
        scale, shift = (xp.reshape(params[name], (1, 3, 1)) for name in ("scale", "shift"))
        return scale * x + shift

    uses = check(lib, f, {"scale": lib.normal(3), "shift": lib.normal(3)}, lib.normal(5, 3, 4))
    assert summary(uses) == [("scale", "scale", "shift", (1, 3), False)]
    assert tuple(uses.uses[0].inputs.shape) == (5, 4, 3)


def test_a_scale_and_a_shift_by_one_number(lib):
    uses = check(lib, lambda p, x: x * p["a"] + p["b"], {"a": lib.normal(), "b": lib.normal(1)}, lib.normal(5, 4))
    assert summary(uses) == [("scale", "a", "b", (1, 1), False)]


def test_a_shift_that_is_subtracted_and_one_that_is_subtracted_from(lib):
    uses = check(lib, lambda p, x: (x - p["b"]) * (p["c"] - x), {"b": lib.normal(3), "c": lib.normal(3)}, lib.normal(5, 3))
    assert summary(uses) == [("shift", "b", None, (1, 3), False), ("shift", "c", None, (1, 3), False)]


def test_a_product_that_is_subtracted_takes_no_bias(lib):
    uses = check(lib, lambda p, x: p["b"] - x @ p["w"], {"w": lib.normal(3, 2), "b": lib.normal(2)}, lib.normal(5, 3))
    assert summary(uses) == [("linear", "w", None, (3, 2), False), ("shift", "b", None, (1, 2), False)]


@pytest.mark.parametrize("positions", [(), (4,), (2, 2)])
def test_an_embedding(lib, positions):
    tokens = lib.integers(np.random.default_rng(0).integers(0, 7, (6, *positions)))

    def f(params, x):
        xp = namespace(params["table"])
        rows = xp.take(params["table"], xp.reshape(x, (-1,)), axis=0)
        return xp.tanh(xp.reshape(rows, (*x.shape, 3)) @ params["w"])

    uses = check(lib, f, {"table": lib.normal(7, 3), "w": lib.normal(3, 2)}, tokens)
    assert summary(uses)[0] == ("embedding", "table", None, (7, 3), False)
    np.testing.assert_array_equal(np.asarray(uses.uses[0].inputs), np.asarray(tokens))


@pytest.mark.parametrize("length", [2, 4, 5])
def test_a_table_of_positions(lib, length):
    """Rows of a table that are the same for all examples are a shift, and a slice of it is made of some of its entries."""

    def f(params, x):
        xp = namespace(params["table"])
        taken = xp.take(params["table"], xp.arange(length), axis=0)
        return xp.tanh(x + taken) * (x + params["table"][:length, :])

    uses = check(lib, f, {"table": lib.normal(6, 3)}, lib.normal(4, length, 3))
    if length != 4:  # as many rows as examples look like one row for each
        assert summary(uses) == [("shift", "table", None, (1, 3 * length), False)] * 2
        np.testing.assert_array_equal(np.asarray(uses.uses[0].entries), np.arange(3 * length))


def test_a_vector_that_is_repeated_for_every_example(lib):
    def f(params, x):
        xp = namespace(params["token"])
        token = xp.broadcast_to(params["token"], (x.shape[0], 1, 3))
        return xp.tanh(xp.concat([token, x], axis=1)) @ params["w"]

    uses = check(lib, f, {"token": lib.normal(1, 1, 3), "w": lib.normal(3, 2)}, lib.normal(5, 2, 3))
    assert summary(uses)[0] == ("shift", "token", None, (1, 3), False)


def test_parts_of_a_weight(lib):
    def f(params, x):
        xp = namespace(params["w"])
        first, second = params["w"][:, :2], params["w"][:, 2:]
        return xp.tanh(x @ first) @ second[:2, :2] + xp.flip(params["b"])

    uses = check(lib, f, {"w": lib.normal(3, 5), "b": lib.normal(2)}, lib.normal(6, 3))
    assert [(u.kind, u.parameter, u.entries is None) for u in uses.uses] == [
        ("linear", "w", False),
        ("linear", "w", False),
        ("shift", "b", False),
    ]


def test_examples_and_positions_on_one_axis(lib):
    def f(params, x):
        xp = namespace(params["w"])
        flat = xp.reshape(x, (-1, 3)) @ params["w"] + params["b"]
        return xp.reshape(flat, (*x.shape[:2], 2))

    uses = check(lib, f, {"w": lib.normal(3, 2), "b": lib.normal(2)}, lib.normal(5, 4, 3))
    assert summary(uses) == [("linear", "w", "b", (3, 2), False)]
    assert tuple(uses.uses[0].inputs.shape) == (5, 4, 3)


def test_groups_of_inputs_and_outputs(lib):
    def f(params, x):
        xp = namespace(params["w"])
        stack = xp.reshape(params["w"], (2, 3, 4))  # (groups, d_out, d_in)
        y = x @ xp.matrix_transpose(stack) + xp.reshape(params["b"], (2, 1, 3))
        return xp.reshape(xp.permute_dims(y, (0, 2, 1, 3)), (x.shape[0], x.shape[2], 6))

    uses = check(lib, f, {"w": lib.normal(6, 4), "b": lib.normal(6)}, lib.normal(5, 2, 3, 4))
    assert summary(uses) == [("linear", "w", "b", (6, 4), True)]
    assert uses.uses[0].groups == 2


def test_unused_parameters_and_dead_ends(lib):
    """A parameter whose product is thrown away does not reach the outputs, and its use is not reported."""

    def f(params, x):
        x @ params["dead"]
        return x @ params["w"]

    params = {"w": lib.normal(3, 4), "dead": lib.normal(3, 2), "idle": lib.normal(2)}
    uses = check(lib, f, params, lib.normal(6, 3))
    assert summary(uses) == [("linear", "w", None, (3, 4), False)]
    assert uses.unused == ("dead", "idle")


def test_outputs_without_parameters(lib):
    uses = parameter_uses(lambda params, x: x * 2.0, {"w": lib.normal(3, 4)}, lib.normal(6, 3))
    assert (uses.uses, uses.unused) == ((), ("w",))
    assert list(uses.cotangents(lib.normal(2, 6, 3))) == []
    np.testing.assert_array_equal(np.asarray(uses.pull(lib.normal(6, 3))["w"]), np.zeros((3, 4)))


def test_no_seeds(lib):
    uses = parameter_uses(mlp, mlp_params(lib), lib.normal(6, 3))
    assert [tuple(g.shape) for g in uses.cotangents(lib.normal(0, 6, 4))] == [(0, 6, 5), (0, 6, 4)]


def test_float32_stays_float32(lib32):
    uses = parameter_uses(mlp, mlp_params(lib32), lib32.normal(6, 3))
    seeds = lib32.normal(2, 6, 4)
    tree, together = uses.pull_both(seeds[0, ...])
    arrays = [uses.outputs, *uses.cotangents(seeds), *together, *tree.values(), *(u.inputs for u in uses.uses)]
    assert {str(a.dtype).split(".")[-1] for a in arrays} == {"float32"}


def test_seeds_of_the_wrong_shape(lib):
    uses = parameter_uses(mlp, mlp_params(lib), lib.normal(6, 3))
    with pytest.raises(ShapeError, match="seeds have shape"):
        uses.cotangents(lib.normal(6, 4))


def test_inside_of_a_derivative_it_is_refused(lib):
    params, x = mlp_params(lib), lib.normal(6, 3)

    def f(params):
        return parameter_uses(mlp, params, x).outputs

    with pytest.raises(DifferentiationError, match="inside of a derivative"):
        autodiff.vjp(f, params)


def test_several_outputs_are_refused(lib):
    with pytest.raises(ShapeError, match="one output array"):
        parameter_uses(lambda p, x: (x @ p["w"], x), {"w": lib.normal(3, 2)}, lib.normal(6, 3))
