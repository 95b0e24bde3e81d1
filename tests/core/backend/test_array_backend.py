"""A bare namespace is a full backend."""

from __future__ import annotations

from collections import namedtuple

import array_api_compat.numpy
import array_api_strict
import numpy as np
import pytest
import torch

from curvature.backend import CAPABILITIES, ArrayBackend, Backend, namespace
from curvature.errors import DifferentiationError, MixedBackendError, PrecisionError, ShapeError

NAMESPACES = {"numpy": array_api_compat.numpy, "strict": array_api_strict}


@pytest.fixture(params=sorted(NAMESPACES))
def be(request):
    return ArrayBackend(request.param, NAMESPACES[request.param])


def dtype_name(x):
    return str(x.dtype).rsplit(".", maxsplit=1)[-1]


def test_it_is_a_backend_with_a_claim_for_every_capability(be):
    assert isinstance(be, Backend)
    assert set(be.capabilities) == set(CAPABILITIES)
    assert all(claim.supported for claim in be.capabilities.values())


def test_equality_is_by_name_device_and_dtype(be):
    same = ArrayBackend(be.name, be.xp)
    other = ArrayBackend(be.name, be.xp, dtype="float32")
    assert (be == same, hash(be) == hash(same), be == other) == (True, True, False)
    assert repr(other) == f"ArrayBackend({be.name!r}, dtype='float32')"


def test_it_owns_its_arrays_only(be):
    other = array_api_strict if be.name == "numpy" else array_api_compat.numpy
    assert be.owns(be.xp.ones(2))
    assert not be.owns(other.ones(2))
    assert not be.owns([1.0])
    assert not be.owns("text")
    assert not be.owns(torch.ones(2))


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1.0, 2.0], None, "float64"),
        (np.ones(2, dtype=np.float32), None, "float32"),
        ([1, 2], None, "int64"),
        ([True], None, "bool"),
        (3.5, None, "float64"),
        (np.float32(3.5), None, "float32"),
        ([1, 2], "float32", "float32"),
        (np.ones(2), "float32", "float32"),
    ],
)
def test_asarray_dtypes(be, values, dtype, expected):
    x = be.asarray(values, dtype=dtype)
    assert be.owns(x)
    assert dtype_name(x) == expected
    np.testing.assert_array_equal(be.to_numpy(x), np.asarray(values))


@pytest.mark.parametrize(("values", "expected"), [([1.0], "float32"), ([1], "int64"), ([True], "bool")])
def test_the_dtype_of_the_backend_is_for_floating_values(be, values, expected):
    narrow = ArrayBackend(be.name, be.xp, dtype="float32")
    assert dtype_name(narrow.asarray(values)) == expected
    assert dtype_name(narrow.asarray(be.asarray(values))) == expected
    assert dtype_name(narrow.asarray(values, dtype="float64")) == "float64"


def test_a_dtype_that_does_not_exist(be):
    with pytest.raises(PrecisionError, match="float8"):
        be.asarray([1.0], dtype="float8")
    with pytest.raises(PrecisionError, match="float8"):
        ArrayBackend(be.name, be.xp, dtype="float8")


def test_a_library_that_narrows_quietly_is_noticed():
    """What JAX does to float64 without x64."""

    class Narrowing:
        float64 = np.dtype("float64")

        @staticmethod
        def asarray(x, dtype=None, device=None):
            return np.asarray(x, dtype="float32")

    with pytest.raises(PrecisionError, match="float32"):
        ArrayBackend("narrowing", Narrowing()).asarray([1.0], dtype="float64")


def test_arrays_of_other_libraries_are_not_moved(be):
    with pytest.raises(MixedBackendError, match="to_numpy"):
        be.asarray(torch.ones(2))


def test_traced_arrays_do_not_leave_for_numpy(be):
    with pytest.raises(DifferentiationError, match="derivative would be lost"):
        be.vjp(be.to_numpy, be.asarray([1.0]))


def test_devices(be):
    assert len(be.devices()) >= 1
    on = be.devices()[0]
    assert be.asarray([1.0], device=on).shape == (1,)
    assert be.memory() is None
    be.synchronize()


def test_random_numbers_are_those_of_every_backend(be):
    other = ArrayBackend("other", array_api_compat.numpy)
    np.testing.assert_array_equal(be.to_numpy(be.rng(3).normal((4,))), other.rng(3).normal((4,)))


def spd(n=4):
    a = np.random.default_rng(0).normal(size=(n, n))
    return a @ a.T + np.eye(n)


def test_cholesky_symmetrises(be):
    matrix = spd()
    skewed = matrix + np.triu(np.ones((4, 4)), 1) - np.tril(np.ones((4, 4)), -1)
    factor, ok = be.cholesky(be.asarray(skewed))
    assert ok is True
    np.testing.assert_allclose(be.to_numpy(factor), np.linalg.cholesky(matrix), rtol=1e-12)


@pytest.mark.parametrize("matrix", [-np.eye(3), np.full((3, 3), np.nan)])
def test_cholesky_of_what_has_none(be, matrix):
    factor, ok = be.cholesky(be.asarray(matrix))
    assert ok is False
    assert factor.shape == (3, 3)


def test_eigh(be):
    values, vectors = be.eigh(be.asarray(spd()))
    rebuilt = be.to_numpy(vectors) @ np.diag(be.to_numpy(values)) @ be.to_numpy(vectors).T
    np.testing.assert_allclose(rebuilt, spd(), rtol=1e-12)
    assert np.all(np.diff(be.to_numpy(values)) >= 0)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("shape", [(4,), (4, 2), (4, 4)])
def test_solve_triangular_reads_one_triangle(be, lower, transposed, shape):
    full, b = spd(), np.random.default_rng(1).normal(size=shape)
    triangle = np.tril(full) if lower else np.triu(full)
    x = be.solve_triangular(be.asarray(full), be.asarray(b), lower=lower, transposed=transposed)
    np.testing.assert_allclose((triangle.T if transposed else triangle) @ be.to_numpy(x), b, rtol=1e-10)


def test_derivatives(be):
    x, v = be.asarray([1.0, 2.0]), be.asarray([0.5, -1.0])

    def f(x):
        return namespace(x).sum(x**3)

    value, gradient = be.value_and_gradient(f, x)
    assert float(value) == 9.0
    np.testing.assert_allclose(be.to_numpy(gradient), [3.0, 12.0])
    np.testing.assert_allclose(be.to_numpy(be.hvp(f, x, v)), [3.0, -12.0])
    np.testing.assert_allclose(float(be.jvp(f, x, v)[1]), -10.5)
    one = be.asarray(1.0)
    np.testing.assert_allclose(be.to_numpy(be.vjp(f, x)[1](one)), [3.0, 12.0])
    _, push, pull = be.linearize(f, x)
    np.testing.assert_allclose(float(push(v)), -10.5)
    np.testing.assert_allclose(be.to_numpy(pull(one)), [3.0, 12.0])
    _, dy, pull = be.jvp_and_pull(f, x, v)
    np.testing.assert_allclose(float(dy), -10.5)
    np.testing.assert_allclose(be.to_numpy(pull(one)), [3.0, 12.0])


def test_vmap_over_trees(be):
    Pair = namedtuple("Pair", ["a", "b"])
    pairs = Pair(be.asarray(np.arange(6.0).reshape(3, 2)), be.asarray([1.0, 2.0, 3.0]))
    mapped = be.vmap(lambda pair, c: {"sum": pair.a * pair.b + c}, in_axes=(0, None))
    result = be.to_numpy(mapped(pairs, be.asarray([10.0, 20.0]))["sum"])
    np.testing.assert_allclose(result, [[10.0, 21.0], [14.0, 26.0], [22.0, 35.0]])


def test_vmap_inside_of_a_derivative(be):
    x = be.asarray(np.arange(6.0).reshape(3, 2))

    def f(x):
        return namespace(x).sum(be.vmap(lambda row: row * row)(x))

    np.testing.assert_allclose(be.to_numpy(be.value_and_gradient(f, x)[1]), 2.0 * be.to_numpy(x))


def test_vmap_refusals(be):
    with pytest.raises(ShapeError, match="one length"):
        be.vmap(lambda a, b: a)(be.asarray([1.0]), be.asarray([1.0, 2.0]))
    with pytest.raises(ShapeError, match="length zero"):
        be.vmap(lambda a: a)(be.asarray(np.zeros((0, 2))))
    with pytest.raises(ShapeError, match="in_axes"):
        be.vmap(lambda a: a, in_axes=1)(be.asarray([1.0]))


def test_jit_is_the_function_itself(be):
    def f(x):
        return x

    assert be.jit(f) is f


def test_parameter_uses_on_plain_data(be):
    """The model writes its functions with the namespace of its data."""

    def model(params, x):
        return namespace(x).tanh(x @ params["w"] + params["b"])

    params = {"w": be.asarray(np.ones((3, 2))), "b": be.asarray(np.zeros(2))}
    uses = be.parameter_uses(model, params, be.asarray(np.ones((5, 3))))
    assert [(u.parameter, u.bias) for u in uses.uses] == [("w", "b")]
    assert be.owns(uses.outputs)
