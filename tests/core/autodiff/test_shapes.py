"""Broadcasting, empty arrays and indexing over many shapes."""

from __future__ import annotations

import array_api_compat.torch as torch_xp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curvature import autodiff
from curvature.backend import namespace

OPERATIONS = {
    "add": lambda xp, a, b: a + b,
    "subtract": lambda xp, a, b: a - b,
    "multiply": lambda xp, a, b: a * b,
    "divide": lambda xp, a, b: a / (b * b + 1.0),
    "maximum": lambda xp, a, b: xp.maximum(a, b),
    "where": lambda xp, a, b: xp.where(a > b, a, b * b),
    "logaddexp": lambda xp, a, b: xp.logaddexp(a, b),
    "pow": lambda xp, a, b: (a * a + 0.5) ** b,
    "atan2": lambda xp, a, b: xp.atan2(a, b),
    "hypot": lambda xp, a, b: xp.hypot(a, b),
    "clip": lambda xp, a, b: xp.clip(a, b, b + 1.0),
}


def adjoint(lib, f, *arrays):
    """<u, J v> = <Jᵀ u, v>, and J v against a central difference."""
    y, push, pull = autodiff.linearize(f, list(arrays))
    v = [lib.normal(*a.shape, seed=3) for a in arrays]
    u = lib.normal(*y.shape, seed=4)
    pushed, pulled = push(v), pull(u)
    assert tuple(pushed.shape) == tuple(y.shape)
    assert [tuple(g.shape) for g in pulled] == [tuple(a.shape) for a in arrays]
    left = np.sum(np.asarray(u) * np.asarray(pushed))
    right = sum(np.sum(np.asarray(g) * np.asarray(t)) for g, t in zip(pulled, v, strict=True))
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-10)
    return pushed


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=25, deadline=None)
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3, max_dims=4))
def test_broadcasting(name, shapes):
    from array_api_compat import numpy as xp

    lib = make(xp)
    a, b = (lib.normal(*s, seed=i) for i, s in enumerate(shapes.input_shapes))
    pushed = adjoint(lib, lambda ab: OPERATIONS[name](namespace(*ab), *ab), a, b)
    tensors = [tuple(torch.asarray(x) for x in pair) for pair in ((a, b), [lib.normal(*x.shape, seed=3) for x in (a, b)])]
    theirs = torch.func.jvp(lambda a, b: OPERATIONS[name](torch_xp, a, b), *tensors)[1]
    np.testing.assert_allclose(pushed, theirs.numpy(), rtol=1e-10, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(shapes=hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, min_side=0, max_side=3, max_dims=2))
def test_matmul(shapes):
    from array_api_compat import numpy as xp

    lib = make(xp)
    a, b = (lib.normal(*s, seed=i) for i, s in enumerate(shapes.input_shapes))
    pushed = adjoint(lib, lambda ab: ab[0] @ ab[1], a, b)
    da, db = (lib.normal(*x.shape, seed=3) for x in (a, b))
    np.testing.assert_allclose(pushed, da @ b + a @ db, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_basic_indexing(data):
    from array_api_compat import numpy as xp

    lib = make(xp)
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    x = lib.normal(*shape)
    pushed = adjoint(lib, lambda xs: xs[0][key], x)
    np.testing.assert_array_equal(pushed, lib.normal(*shape, seed=3)[key])


@st.composite
def mixed_keys(draw, shape):
    """Integers, slices, None, Ellipsis, integer arrays that broadcast and masks, in any order that NumPy allows."""
    shared = draw(hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=3))
    key = []
    for n in shape:
        key += [None] * draw(st.integers(0, 1))
        key.append(
            draw(
                st.one_of(
                    st.just(slice(None)),
                    st.just(slice(None, None, -1)),
                    st.integers(-n, n - 1),
                    hnp.arrays(np.int64, st.sampled_from([shared, shared[-1:], ()]), elements=st.integers(-n, n - 1)),
                )
            )
        )
    key += [None] * draw(st.integers(0, 1))
    if draw(st.booleans()):
        tail = draw(st.integers(0, len(shape)))
        key = (
            [*key[: len(key) - tail], Ellipsis] if all(k is None or isinstance(k, slice) for k in key[len(key) - tail :]) else key
        )
    return tuple(key)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_mixed_indexing(data):
    """NumPy's own result, for the tangent (indexing is linear), and the adjoint."""
    from array_api_compat import numpy as xp

    lib = make(xp)
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    key = data.draw(mixed_keys(shape))
    pushed = adjoint(lib, lambda xs: xs[0][key], lib.normal(*shape))
    np.testing.assert_array_equal(pushed, lib.normal(*shape, seed=3)[key])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_masks(data):
    from array_api_compat import numpy as xp

    lib = make(xp)
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    start = data.draw(st.integers(0, len(shape) - 1))
    stop = data.draw(st.integers(start + 1, len(shape)))
    mask = data.draw(hnp.arrays(np.bool_, shape[start:stop]))
    key = (*[slice(None)] * start, mask, *data.draw(st.sampled_from([(), (None,), (...,)])))
    pushed = adjoint(lib, lambda xs: xs[0][key], lib.normal(*shape))
    np.testing.assert_array_equal(pushed, lib.normal(*shape, seed=3)[key])


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (lambda lib: lib.integers([0, 3]), IndexError),
        (lambda lib: lib.integers([0, -4]), IndexError),
        (lambda lib: (lib.integers([0]), lib.integers([2])), IndexError),
        (lambda lib: (lib.integers([0]), lib.integers([-3])), IndexError),
        (lambda lib: lib.array([0.0, 1.0]), IndexError),
        (lambda lib: (0, 0, 0), IndexError),
        (lambda lib: 1.5, IndexError),
        (lambda lib: lib.xp.asarray([True, False]), IndexError),
        (lambda lib: (..., 0, ...), IndexError),
    ],
)
def test_indices_that_do_not_fit_are_refused(lib, key, error):
    """Also where the flat position of (0, 2) in a (3, 2) array would be another element's."""
    with pytest.raises((error, RuntimeError) if lib.xp is torch_xp else error):
        autodiff.vjp(lambda x: x[key(lib)], lib.normal(3, 2))


@pytest.mark.parametrize("axis", [0, 1])
def test_taking_out_of_range_is_refused(lib, axis):
    for call in (
        lambda x: namespace(x).take(x, lib.integers([5]), axis=axis),
        lambda x: namespace(x).take_along_axis(x, lib.integers([[3]]), axis=axis),
    ):
        with pytest.raises((IndexError, RuntimeError)):
            autodiff.vjp(call, lib.normal(3, 2))


UNARY_SHAPES = {
    "sum": lambda xp, a, axis: xp.sum(a * a, axis=axis, keepdims=True),
    "mean": lambda xp, a, axis: xp.mean(a * a, axis=axis),
    "prod": lambda xp, a, axis: xp.prod(a, axis=axis),
    "max": lambda xp, a, axis: xp.max(a, axis=axis) ** 2,
    "min": lambda xp, a, axis: xp.min(a, axis=axis, keepdims=True) ** 2,
    "std": lambda xp, a, axis: xp.std(xp.concat([a, a * 0.5], axis=axis), axis=axis),
    "cumulative_sum": lambda xp, a, axis: xp.cumulative_sum(a, axis=axis, include_initial=True) ** 2,
    "cumulative_prod": lambda xp, a, axis: xp.cumulative_prod(a, axis=axis),
    "sort": lambda xp, a, axis: xp.sort(a, axis=axis) * a,
    "flip": lambda xp, a, axis: xp.flip(a, axis=axis) * a,
    "roll": lambda xp, a, axis: xp.roll(a, 1, axis=axis) * a,
    "repeat": lambda xp, a, axis: xp.repeat(a, 2, axis=axis) ** 2,
    "concat": lambda xp, a, axis: xp.concat([a, a * a], axis=axis),
    "stack": lambda xp, a, axis: xp.stack([a, a * a], axis=axis),
    "unstack": lambda xp, a, axis: sum(b * b for b in xp.unstack(a, axis=axis)),
    "moveaxis": lambda xp, a, axis: xp.moveaxis(a, axis, 0) ** 2,
    "expand_dims": lambda xp, a, axis: xp.expand_dims(a, axis=axis) ** 2,
    "diff": lambda xp, a, axis: xp.diff(a, axis=axis) ** 2,
    "vector_norm": lambda xp, a, axis: xp.linalg.vector_norm(a, axis=axis, ord=3),
    "tile": lambda xp, a, axis: xp.tile(a, (2,) * (axis % a.ndim + 1)) ** 2,
}


@pytest.mark.parametrize("name", UNARY_SHAPES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_functions_along_an_axis(name, data):
    """Up to four axes, from the front and from the end, against PyTorch's forward mode."""
    from array_api_compat import numpy as xp

    lib = make(xp)
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=3))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    a, t = lib.normal(*shape), lib.normal(*shape, seed=3)
    pushed = adjoint(lib, lambda xs: UNARY_SHAPES[name](namespace(*xs), xs[0], axis), a)
    theirs = torch.func.jvp(lambda a: UNARY_SHAPES[name](torch_xp, a, axis), (torch.asarray(a),), (torch.asarray(t),))[1]
    np.testing.assert_allclose(pushed, theirs.numpy(), rtol=1e-10, atol=1e-12)


EMPTY = ("sum", "prod", "cumulative_sum", "cumulative_prod", "sort", "flip", "roll", "repeat", "concat", "stack", "moveaxis")


@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("shape", [(0,), (0, 2), (2, 0, 3)])
def test_empty_arrays(lib, name, shape):
    for axis in range(len(shape)):
        pushed = adjoint(lib, lambda xs, axis=axis: UNARY_SHAPES[name](namespace(*xs), xs[0], axis), lib.normal(*shape))
        assert tuple(pushed.shape) == tuple(np.asarray(UNARY_SHAPES[name](lib.xp, lib.normal(*shape), axis)).shape)


@pytest.mark.parametrize("zeros", [(0,), (1,), (0, 2), (0, 1, 2)])
def test_cumulative_products_through_zeros(lib, zeros):
    """∂ y_k / ∂ x_i is the product of the other factors up to k."""
    x = np.array([2.0, -3.0, 0.5, 4.0])
    x[list(zeros)] = 0.0
    jacobian = np.array([[np.prod(np.delete(x[: k + 1], i)) if i <= k else 0.0 for i in range(4)] for k in range(4)])
    _, pull = autodiff.vjp(lambda x: namespace(x).cumulative_prod(x), lib.array(x))
    pulled = np.stack([np.asarray(pull(lib.array(row))) for row in np.eye(4)])
    np.testing.assert_array_equal(pulled, jacobian)


@pytest.mark.parametrize("reduce", ["sum", "mean", "prod", "var"])
@pytest.mark.parametrize("axis", [None, 0, (0, 2), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(lib, reduce, axis, keepdims):
    x = lib.normal(2, 3, 2)

    def f(xs):
        return getattr(namespace(xs[0]), reduce)(xs[0], axis=axis, keepdims=keepdims)

    pushed = adjoint(lib, f, x)
    step = 1e-6 * np.asarray(lib.normal(2, 3, 2, seed=3))
    plain = getattr(np, reduce)
    numeric = (
        plain(np.asarray(x) + step, axis=axis, keepdims=keepdims) - plain(np.asarray(x) - step, axis=axis, keepdims=keepdims)
    ) / 2e-6
    np.testing.assert_allclose(np.asarray(pushed), numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_an_empty_batch_or_layer(lib, shape):
    x = autodiff.lift(lib.normal(*shape))
    params = [lib.normal(shape[1], 4), lib.normal(4)]
    gradient = autodiff.gradient(lambda p: namespace(p[0]).sum(namespace(p[0]).tanh(x @ p[0] + p[1])))(params)
    assert [tuple(g.shape) for g in gradient] == [(shape[1], 4), (4,)]
    np.testing.assert_array_equal(np.asarray(gradient[0]), 0.0)


def test_product_with_zeros_among_the_factors(lib):
    x = lib.array([2.0, 0.0, 3.0])
    np.testing.assert_array_equal(np.asarray(autodiff.gradient(lambda x: namespace(x).prod(x))(x)), [0.0, 6.0, 0.0])


def test_repeated_indices_add_up(lib):
    table = lib.normal(5, 2)
    rows = lib.integers([[1, 1, 4], [1, 0, 4]])
    _, pull = autodiff.vjp(lambda t: namespace(t).take(t, namespace(t).reshape(rows, (-1,)), axis=0), table)
    counts = np.asarray(pull(lib.xp.ones((6, 2), dtype=table.dtype)))
    np.testing.assert_array_equal(counts, np.array([1, 3, 0, 0, 2])[:, None] * np.ones((1, 2)))


def test_convolution_by_slices(lib):
    """A 3 × 3 convolution from slices, stack and matmul against a direct sum, and its adjoint."""
    image, kernel = lib.normal(2, 6, 5, 3), lib.normal(27, 4)

    def convolve(args):
        image, kernel = args
        xp = namespace(image)
        patches = xp.concat([image[:, i : i + 4, j : j + 3, :] for i in range(3) for j in range(3)], axis=-1)
        return patches @ kernel

    pushed = adjoint(lib, convolve, image, kernel)
    di, dk = (np.asarray(lib.normal(*x.shape, seed=3)) for x in (image, kernel))

    def direct(image, kernel):
        windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(1, 2))
        return np.einsum("nhwcij,ijcd->nhwd", windows, kernel.reshape(3, 3, 3, 4))

    expected = direct(di, np.asarray(kernel)) + direct(np.asarray(image), dk)
    np.testing.assert_allclose(np.asarray(pushed), expected, rtol=1e-11, atol=1e-12)


class make:
    """A library for tests under Hypothesis, which takes no function-scoped fixtures."""

    def __init__(self, xp):
        self.xp = xp

    def normal(self, *shape, seed=0):
        return self.xp.asarray(np.random.default_rng((seed, *shape)).normal(size=shape))
