"""Uses of parameters: what the contract builds from inputs and cotangents is the gradient that JAX gives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import curvature as cv
from curvature.backend import Keyed
from curvature_jax.packed import Packed
from curvature_jax.uses import Analysis

N = 5


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def one_gradient(use, g):
    """The gradient of what enters, flat and of ``matrix_shape``, for one column (N, *positions, d_out)."""
    flat = g.reshape(-1, g.shape[-1])
    if use.kind == "shift":
        return flat.sum(axis=0)
    inputs = np.asarray(use.inputs)
    if use.kind == "embedding":
        assert inputs.shape == g.shape[:-1]
        table = np.zeros(use.matrix_shape)
        np.add.at(table, inputs.reshape(-1), flat)
        return table.reshape(-1)
    assert inputs.shape[:-1] == g.shape[:-1]
    a = inputs.reshape(-1, inputs.shape[-1])
    if use.kind == "scale":
        return (a * flat).sum(axis=0)
    a, flat = a.reshape(len(a), use.groups, -1), flat.reshape(len(flat), use.groups, -1)
    if use.transposed:
        return np.einsum("tgo,tgi->goi", flat, a).reshape(-1)
    return np.einsum("tgi,tgo->igo", a, flat).reshape(-1)


def gradients_from(uses, columns, space):
    found = {name: np.zeros(size) for name, size in zip(space.names, space.sizes, strict=True)}
    for use, g in zip(uses.uses, columns, strict=True):
        gradient = one_gradient(use, np.asarray(g))
        assert gradient.size == np.prod(use.matrix_shape)
        if use.entries is None:
            found[use.parameter] += gradient
        else:
            np.add.at(found[use.parameter], np.asarray(use.entries), gradient)
        if use.bias is not None:
            found[use.bias] += np.asarray(g).reshape(-1, g.shape[-1]).sum(axis=0)
    return found


def check(f, params, x, expected, unused=(), unrecognised=(), keyed=True):
    """The uses of f are ``expected``, (kind, parameter, bias) each, and make up the gradients."""
    be = cv.backend("jax")
    function = Keyed(f, "f", {}) if keyed else f
    uses = be.parameter_uses(function, params, x)
    space = cv.ParameterSpace.of(params)
    assert sorted((u.kind, u.parameter, u.bias or "") for u in uses.uses) == sorted(expected)
    assert set(uses.unrecognised) == set(unrecognised)
    assert set(uses.unused) == set(unused)
    np.testing.assert_allclose(uses.outputs, f(params, x), rtol=1e-12, atol=1e-14)
    seeds = normal(3, *uses.outputs.shape, seed=9)
    columns = uses.cotangents(seeds)
    for r, seed in enumerate(seeds):
        _, back = jax.vjp(lambda p: f(p, x), params)
        wanted = dict(zip(space.names, cv.trees.leaves(back(seed)[0]), strict=True))
        tree, both = uses.pull_both(seed)
        for name, pulled, again in zip(space.names, cv.trees.leaves(tree), cv.trees.leaves(uses.pull(seed)), strict=True):
            np.testing.assert_allclose(pulled, wanted[name], rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(again, wanted[name], rtol=1e-10, atol=1e-12)
        for c, b, alone in zip(columns, both, uses.cotangents(seed[None]), strict=True):
            np.testing.assert_allclose(b, c[r : r + 1], rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(alone, c[r : r + 1], rtol=1e-10, atol=1e-12)
        found = gradients_from(uses, [np.asarray(c[r]) for c in columns], space)
        for name in space.names:
            if name not in unrecognised:
                np.testing.assert_allclose(found[name], wanted[name].reshape(-1), rtol=1e-10, atol=1e-12, err_msg=name)
    return uses


X, X3 = normal(N, 4, seed=1), normal(N, 3, 4, seed=2)


def two_layers():
    return {"w": normal(4, 6, seed=3), "b": normal(6, seed=4), "v": normal(2, 6, seed=5), "c": normal(2, seed=6)}


WRITTEN = {
    "operators": lambda p, x: jnp.tanh(x @ p["w"] + p["b"]) @ p["v"].T + p["c"],
    "bias first": lambda p, x: p["c"] + jnp.tanh(p["b"] + x @ p["w"]) @ jnp.swapaxes(p["v"], 0, 1),
    "einsum": lambda p, x: (
        jnp.einsum("...h,oh->...o", jnp.tanh(jnp.einsum("...i,ih->...h", x, p["w"]) + p["b"]), p["v"]) + p["c"]
    ),
    "reshaped": lambda p, x: jax.nn.relu(x @ p["w"].reshape(-1).reshape(4, 6) + p["b"][None, :].ravel()) @ p["v"].T.T.T + p["c"],
    "jit inside": lambda p, x: jax.jit(lambda h: h @ p["v"].T + p["c"])(
        jax.jit(jnp.tanh)(jax.jit(jnp.matmul)(x, p["w"]) + p["b"])
    ),
    "remat": lambda p, x: jax.checkpoint(lambda h, v, c: jnp.tanh(h) @ v.T + c)(x @ p["w"] + p["b"], p["v"], p["c"]),
    "mapped over examples": lambda p, x: jax.vmap(lambda one: jnp.tanh(one @ p["w"] + p["b"]) @ p["v"].T + p["c"])(x),
    "weight first": lambda p, x: (
        jax.vmap(lambda one: p["v"] @ jnp.tanh(p["w"].T @ one.T + p["b"].reshape((-1,) + (1,) * (one.ndim - 1))))(x).reshape(
            N, 2, -1
        )
        + p["c"][:, None]
    ),
    "broadcast weight": lambda p, x: jnp.tanh(x @ p["w"] + p["b"]) @ jnp.broadcast_to(p["v"].T, (*x.shape[:-2], 6, 2)) + p["c"],
}


@pytest.mark.parametrize("x", [X, X3], ids=["examples", "positions"])
@pytest.mark.parametrize("f", WRITTEN.values(), ids=WRITTEN)
def test_two_layers(f, x):
    uses = check(f, two_layers(), x, [("linear", "w", "b"), ("linear", "v", "c")])
    assert {u.parameter: (u.matrix_shape, u.transposed) for u in uses.uses} == {"w": ((4, 6), False), "v": ((2, 6), True)}
    assert all(u.entries is None for u in uses.uses)


def test_a_plain_function_is_as_good_as_a_keyed_one():
    check(WRITTEN["operators"], two_layers(), X, [("linear", "w", "b"), ("linear", "v", "c")], keyed=False)


@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_examples_as_many_as_something_else(n):
    """N is a width of the network as well: where the examples lie is seen from another number of them."""
    f = lambda p, x: jax.vmap(lambda one: p["v"] @ jnp.tanh(p["w"].T @ one + p["b"]))(x)  # noqa: E731
    params = {k: v for k, v in two_layers().items() if k != "c"}
    check(f, params, normal(n, 4, seed=7), [("linear", "w", "b"), ("linear", "v", "")])


def test_a_function_for_one_number_of_examples():
    """It refuses another number, so the first axis as long as there are examples is taken."""

    def f(p, x):
        assert len(x) == N
        return jnp.tanh(x @ p["w"] + p["b"]) @ p["v"].T + p["c"]

    check(f, two_layers(), X, [("linear", "w", "b"), ("linear", "v", "c")])


def test_several_axes_make_one_matrix():
    """The kernels of attention: (d, heads, size) in, (heads, size, d) out."""

    def f(p, x):
        h = jnp.tanh(jnp.einsum("ntd,dhk->nthk", x, p["in"]) + p["in_bias"])
        return jnp.einsum("nthk,hko->nto", h, p["out"]) + p["out_bias"]

    params = {
        "in": normal(4, 2, 3),
        "in_bias": normal(2, 3, seed=1),
        "out": normal(2, 3, 5, seed=2),
        "out_bias": normal(5, seed=3),
    }
    uses = check(f, params, X3, [("linear", "in", "in_bias"), ("linear", "out", "out_bias")])
    assert [u.matrix_shape for u in uses.uses] == [(4, 6), (6, 5)]
    assert all(u.entries is None for u in uses.uses)


def test_axes_in_an_order_that_is_no_matrix():
    f = lambda p, x: jnp.einsum("ntd,kdo->nko", x, p["w"])  # noqa: E731
    (use,) = check(f, {"w": normal(3, 4, 2)}, X3, [("linear", "w", "")]).uses
    assert use.entries is not None


def test_a_matrix_for_each_head_is_a_grouped_product():
    def f(p, x):
        return jnp.einsum("nhi,hio->nho", x.reshape(N, 3, 4), p["w"]) + p["b"]

    (use,) = check(f, {"w": normal(3, 4, 2), "b": normal(3, 2, seed=1)}, X3, [("linear", "w", "b")]).uses
    assert use.groups == 3


def test_joined_projections_are_cut_apart():
    def f(p, x):
        q, k = jnp.split(p["w"], 2, axis=1)
        return jnp.tanh(x @ q + p["b"][:3]) * (x @ k + p["b"][3:])

    uses = check(f, {"w": normal(4, 6), "b": normal(6)}, X, [("linear", "w", "")] * 2 + [("shift", "b", "")] * 2)
    assert all(u.entries is not None for u in uses.uses)


def test_a_vector_of_weights_and_a_number():
    f = lambda p, x: (x @ p["w"] + p["b"]) * p["s"]  # noqa: E731
    check(f, {"w": normal(4), "b": normal(), "s": normal()}, X, [("linear", "w", "b"), ("scale", "s", "")])


def test_positions_next_to_examples():
    def f(p, x):
        n, t, d = x.shape
        return jnp.tanh(x.reshape(n * t, d) @ p["w"] + p["b"]).reshape(n, t, 6)

    params = {k: v for k, v in two_layers().items() if k in "wb"}
    (use,) = check(f, params, X3, [("linear", "w", "b")]).uses
    assert use.inputs.shape == (N, 3, 4)


TABLES = {
    "indexed": lambda table, x: table[x],
    "taken": lambda table, x: jnp.take(table, x, axis=0),
    "taken clipped": lambda table, x: jnp.take(table, x, axis=0, mode="clip"),
    "mapped": lambda table, x: jax.vmap(jax.vmap(lambda i: table[i]))(x),
    "one-hot": lambda table, x: jax.nn.one_hot(x, 7, dtype=table.dtype) @ table,
}


@pytest.mark.parametrize("lookup", TABLES.values(), ids=TABLES)
def test_embeddings(lookup):
    x = jnp.asarray(np.random.default_rng(0).integers(0, 7, (N, 3)))
    kind = "linear" if lookup is TABLES["one-hot"] else "embedding"
    f = lambda p, x: jnp.tanh(lookup(p["table"], x) + p["positions"]) @ p["v"]  # noqa: E731
    params = {"table": normal(7, 4), "positions": normal(3, 4, seed=1), "v": normal(4, 2, seed=2)}
    check(f, params, x, [(kind, "table", ""), ("shift", "positions", ""), ("linear", "v", "")])


def test_a_table_that_gives_zero_for_padding_is_refused():
    """An index out of range has no row, so that row's statistics would be wrong for batches with padding alone."""
    x = jnp.asarray(np.random.default_rng(0).integers(0, 7, (N, 3)))
    f = lambda p, x: p["table"].at[x].get(mode="fill", fill_value=0.0)  # noqa: E731
    uses = cv.backend("jax").parameter_uses(f, {"table": normal(7, 4)}, x)
    assert uses.uses == ()
    assert "gather" in uses.unrecognised["table"]


def test_a_tied_table():
    """In as an embedding, out as a matrix."""
    x = jnp.asarray(np.random.default_rng(0).integers(0, 7, (N, 3)))
    f = lambda p, x: jnp.tanh(p["table"][x]) @ p["table"].T  # noqa: E731
    check(f, {"table": normal(7, 4)}, x, [("embedding", "table", ""), ("linear", "table", "")])


def test_positions_looked_up_by_number():
    x = jnp.asarray(np.random.default_rng(0).integers(0, 7, (N, 3)))
    f = lambda p, x: jnp.tanh(p["table"][x] + p["positions"][jnp.arange(3)])  # noqa: E731
    uses = check(
        f, {"table": normal(7, 4), "positions": normal(8, 4)}, x, [("embedding", "table", ""), ("shift", "positions", "")]
    )
    assert uses.uses[1].entries.shape == (12,)


def test_scale_and_shift_of_a_normalisation():
    def f(p, x):
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        return centred / jnp.sqrt(jnp.var(x, axis=-1, keepdims=True) + 1e-5) * p["w"] + p["b"]

    check(f, {"w": normal(4), "b": normal(4, seed=1)}, X3, [("scale", "w", "b")])


def test_a_scale_times_constants():
    """Batch norm in evaluation mode: (x - m) ∘ (w / σ) + b."""
    mean, deviation = normal(4, seed=5), jnp.abs(normal(4, seed=6)) + 0.1

    def f(p, x):
        factor = p["w"].reshape(2, 2) * jax.lax.rsqrt(deviation.reshape(2, 2))
        return (x - mean) * factor.T.T.reshape(1, 4) + p["b"]

    check(f, {"w": normal(4), "b": normal(4, seed=1)}, X3, [("scale", "w", "b")])


def test_a_product_of_a_parameter_and_constants_elsewhere_is_refused():
    f = lambda p, x: x @ (p["w"] * 2.0) + p["b"] * 3.0  # noqa: E731
    uses = cv.backend("jax").parameter_uses(f, {"w": normal(4, 2), "b": normal(2)}, X)
    assert set(uses.unrecognised) == {"w", "b"}


def test_what_is_subtracted():
    f = lambda p, x: jnp.tanh(x - p["b"]) + (p["c"] - x)  # noqa: E731
    check(f, {"b": normal(4), "c": normal(4)}, X, [("shift", "b", ""), ("shift", "c", "")])


COPIES = {
    "broadcast": lambda v, n: jnp.broadcast_to(v, (n, 1, 4)),
    "tile": lambda v, n: jnp.tile(v, (n, 1, 1)),
    "repeat": lambda v, n: jnp.repeat(v[None, None, :], n, axis=0),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_token_that_stands_before_all_others(copy):
    f = lambda p, x: jnp.tanh(jnp.concatenate([copy(p["token"], len(x)), x], axis=1)) @ p["w"]  # noqa: E731
    check(f, {"token": normal(4), "w": normal(4, 2)}, X3, [("shift", "token", ""), ("linear", "w", "")])


def test_a_first_state_of_a_scan_is_a_shift():
    """The weight goes into the scan and is refused by its name."""

    def f(p, x):
        start = jnp.broadcast_to(p["h"], (len(x), 4))
        return lax.scan(lambda h, now: (jnp.tanh(h + now @ p["w"]), None), start, jnp.swapaxes(x, 0, 1))[0]

    uses = check(f, {"h": normal(4), "w": normal(4, 4)}, X3, [("shift", "h", "")], unrecognised=["w"])
    assert "scan" in uses.unrecognised["w"]


def cube(w):
    return w**3


@jax.custom_jvp
def doubled(w):
    return w * 1.0


doubled.defjvp(lambda primals, tangents: (doubled(*primals), 2.0 * tangents[0]))


@jax.custom_vjp
def tripled(x, w):
    return x @ w


tripled.defvjp(lambda x, w: (x @ w, (x, w)), lambda kept, g: (3.0 * g @ kept[1].T, 3.0 * kept[0].T @ g))

REFUSED = {
    "integer_pow": lambda p, x: x @ cube(p["w"]),
    "custom_jvp_call": lambda p, x: x @ doubled(p["w"]),
    "custom_vjp_call": lambda p, x: tripled(x, p["w"]),
    "while": lambda p, x: lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] @ p["w"]), (0, x))[1],
    "cond": lambda p, x: lax.cond(x[0, 0] > 0, lambda: x @ p["w"], lambda: -x @ p["w"]),
    "reduce_sum": lambda p, x: x + jnp.sum(p["w"]),
    "convert_element_type": lambda p, x: (x.astype(jnp.float32) @ p["w"].astype(jnp.float32)).astype(jnp.float64),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_affine_map_is_named(name):
    arguments = {"w": normal(4, 4)}, X
    analysis = Analysis(REFUSED[name], cv.ParameterSpace.of(arguments[0]), [arguments[0]["w"]], Packed.of(X), compiled=False)
    assert name in analysis.unrecognised["w"]
    assert analysis.found == ()


def test_examples_that_are_summed_by_the_weight_are_no_use():
    """A convolution whose channels are the examples, and a product that contracts them."""
    for f, w in (
        (
            lambda p, x: lax.conv_general_dilated(x[None], p["w"], (1,), "SAME", dimension_numbers=("NCW", "OIW", "NCW"))[0],
            (N, N, 2),
        ),
        (lambda p, x: p["w"] @ x, (N, N)),
    ):
        uses = cv.backend("jax").parameter_uses(f, {"w": normal(*w)}, X)
        assert uses.uses == ()
        assert "examples" in uses.unrecognised["w"]


def test_custom_derivatives_elsewhere_keep_their_rules():
    """ReLU at 0 and a straight-through estimator: the rule of the function, not of what is in it."""

    @jax.custom_vjp
    def rounded(x):
        return jnp.round(x)

    rounded.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))
    f = lambda p, x: rounded(jax.nn.relu(x @ p["w"] + p["b"])) @ p["v"].T + p["c"]  # noqa: E731
    params = two_layers() | {"w": jnp.zeros((4, 6)), "b": jnp.array([0.0, 0, 0, 1, -1, 2])}
    check(f, params, X, [("linear", "w", "b"), ("linear", "v", "c")])


def test_a_second_way_is_not_lost():
    f = lambda p, x: x @ p["w"] + jnp.sum(p["w"] ** 2, axis=0)  # noqa: E731
    check(f, {"w": normal(4, 2)}, X, [("linear", "w", "")], unrecognised=["w"])


def test_what_carries_no_derivative_is_no_use():
    """Compared, stopped, in dead code, or not there at all."""

    def f(p, x):
        _ = jnp.sin(p["dead"])
        mask = jnp.where(p["compared"] > 0, 1.0, 2.0)
        return (x @ p["w"]) * mask + jax.lax.stop_gradient(p["stopped"])

    params = {name: normal(2) for name in ("absent", "compared", "dead", "stopped")} | {"w": normal(4, 2)}
    check(f, params, X, [("linear", "w", "")], unused=["absent", "compared", "dead", "stopped"])


def test_a_product_that_goes_elsewhere_too_has_no_bias():
    def f(p, x):
        h = x @ p["w"]
        return jnp.tanh(h + p["b"]) + h

    check(f, {"w": normal(4, 2), "b": normal(2)}, X, [("linear", "w", ""), ("shift", "b", "")])


def test_a_bias_along_another_axis_is_a_shift():
    f = lambda p, x: x @ p["w"] + p["b"][:, None]  # noqa: E731
    check(f, {"w": normal(4, 3), "b": normal(3)}, X3, [("linear", "w", ""), ("shift", "b", "")])


def test_without_inputs_nothing_is_recognised():
    uses = cv.backend("jax").parameter_uses(lambda p, x: jnp.broadcast_to(p["a"] ** 2, (3, 2)), {"a": normal(2)}, None)
    assert uses.uses == ()
    assert "integer_pow" in uses.unrecognised["a"]


CONVOLUTIONS = {
    "plain": ({}, ("NCHW", "OIHW", "NCHW")),
    "last": ({}, ("NHWC", "HWIO", "NHWC")),
    "mixed": ({}, ("NHWC", "OHWI", "NCHW")),
    "strided": ({"window_strides": (2, 1), "padding": ((1, 0), (2, 1))}, ("NCHW", "OIHW", "NHWC")),
    "dilated": ({"rhs_dilation": (2, 1), "padding": "SAME"}, ("NHWC", "HWIO", "NHWC")),
    "transposed": ({"lhs_dilation": (2, 2), "padding": ((1, 1), (1, 2))}, ("NHWC", "HWIO", "NHWC")),
    "cropped": ({"padding": ((-1, 0), (0, -1))}, ("NHWC", "HWIO", "NHWC")),
    "swapped": ({}, ("NHWC", "HWIO", "NWHC")),
}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, groups):
    options, letters = CONVOLUTIONS[name]
    sizes = {"N": N, "C": 4, "H": 7, "W": 6, "O": 6, "I": 4 // groups}
    x = normal(*(sizes[letter] for letter in letters[0]), seed=1)
    kernel = normal(*({**sizes, "H": 3, "W": 2}[letter] for letter in letters[1]), seed=2)
    bias = normal(*(6 if letter == "C" else 1 for letter in letters[2]), seed=3)
    settings = {"window_strides": (1, 1), "padding": "VALID", **options}

    def f(p, x):
        y = lax.conv_general_dilated(x, p["w"], dimension_numbers=letters, feature_group_count=groups, **settings)
        return jnp.tanh(y + p["b"])

    (use,) = check(f, {"w": kernel, "b": bias}, x, [("linear", "w", "b")]).uses
    assert use.groups == groups
    assert use.inputs.shape[-1] == groups * kernel.size // 6


@pytest.mark.parametrize("letters", [("NWC", "WIO", "NWC"), ("NDHWC", "DHWIO", "NDHWC")])
def test_convolutions_in_one_and_three_dimensions(letters):
    sizes = {"N": N, "C": 2, "D": 3, "H": 4, "W": 5}
    x = normal(*(sizes[letter] for letter in letters[0]))
    kernel = normal(*({"D": 2, "H": 3, "W": 2, "I": 2, "O": 3}[letter] for letter in letters[1]))
    strides = (1,) * (len(letters[0]) - 2)
    f = lambda p, x: lax.conv_general_dilated(x, p["w"], strides, "SAME", dimension_numbers=letters)  # noqa: E731
    check(f, {"w": kernel}, x, [("linear", "w", "")])


def test_a_convolution_mapped_over_examples():
    f = lambda p, x: jax.vmap(  # noqa: E731
        lambda one: lax.conv_general_dilated(one[None], p["w"], (1,), "SAME", dimension_numbers=("NCW", "OIW", "NCW"))[0]
    )(x)
    check(f, {"w": normal(3, 4, 2)}, normal(N, 4, 6), [("linear", "w", "")])


def test_several_images_of_each_example():
    def f(p, x):
        flat = x.reshape(-1, 4, 6)
        y = lax.conv_general_dilated(flat, p["w"], (1,), "SAME", dimension_numbers=("NCW", "OIW", "NCW"))
        return y.reshape(N, 2, 3, 6)

    (use,) = check(f, {"w": normal(3, 4, 2)}, normal(N, 2, 4, 6), [("linear", "w", "")]).uses
    assert use.inputs.shape == (N, 2, 6, 8)
