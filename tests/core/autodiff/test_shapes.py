"""Broadcasting, empty arrays and indexing over many shapes."""

from __future__ import annotations

import numpy as np
import pytest
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
@given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3, max_dims=3))
def test_broadcasting(name, shapes):
    from array_api_compat import numpy as xp

    lib = make(xp)
    a, b = (lib.normal(*s, seed=i) for i, s in enumerate(shapes.input_shapes))
    adjoint(lib, lambda ab: OPERATIONS[name](namespace(*ab), *ab), a, b)


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


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_integer_array_indexing(data):
    from array_api_compat import numpy as xp

    lib = make(xp)
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=4))
    shared = data.draw(hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=3))
    key = tuple(
        data.draw(
            st.one_of(
                st.just(slice(None)),
                st.integers(-n, n - 1),
                hnp.arrays(np.int64, st.just(shared), elements=st.integers(-n, n - 1)),
            )
        )
        for n in shape
    )
    x = lib.normal(*shape)
    pushed = adjoint(lib, lambda xs: xs[0][key], x)
    np.testing.assert_array_equal(pushed, lib.normal(*shape, seed=3)[key])


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
