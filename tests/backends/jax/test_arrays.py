"""Arrays, devices and precision."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import curvature as cv


def test_numpy_values_and_dtypes_stay(jx):
    for values in (np.arange(3.0), np.arange(3, dtype=np.float32), np.arange(-2, 2), np.array([True, False]), np.zeros((0, 2))):
        found = jx.to_numpy(jx.asarray(values))
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)


def test_the_backends_dtype_is_for_floating_values():
    be = cv.backend("jax", dtype="float32")
    assert be.asarray(np.arange(3.0)).dtype == jnp.float32
    assert be.asarray(jnp.arange(3.0)).dtype == jnp.float32
    assert be.asarray([1.5]).dtype == jnp.float32
    assert be.asarray(np.arange(3)).dtype == jnp.int64
    assert be.asarray(np.arange(3.0), dtype="float64").dtype == jnp.float64
    assert be.dtype == "float32"


def test_a_numpy_array_is_copied(jx):
    values = np.arange(1024.0)
    made = jx.asarray(values)
    values[:] = -1
    assert float(made[3]) == 3.0


def test_arrays_of_other_libraries_are_refused(jx):
    torch = pytest.importorskip("torch")
    with pytest.raises(cv.MixedBackendError, match=r"torch\.Tensor.*to_numpy"):
        jx.asarray(torch.ones(2))
    with pytest.raises(cv.MixedBackendError, match=r"'jax'.*'torch'"):
        cv.Model(lambda p, x: x, {"v": jx.asarray([1.0]), "w": torch.ones(2)})
    with pytest.raises(cv.MixedBackendError, match=r"x is a torch.*backend.asarray\(x\)"):
        cv.Problem((lambda p, x: x * p, jx.asarray(1.0)), cv.Gaussian(), (torch.ones((2, 1)), jx.asarray(np.ones((2, 1)))))


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cpu:99", "cpu:first", "nonsense", 3])
def test_a_device_that_is_not_there(device):
    if device == "tpu" and any(d.platform == "tpu" for d in jax.devices()):
        pytest.skip("this machine has one")
    with pytest.raises(cv.BackendUnavailableError, match=str(device)):
        cv.backend("jax", device=device)


def test_devices_by_name_and_by_object():
    device = jax.local_devices(backend="cpu")[0]
    for given in ("cpu", "cpu:0", device):
        be = cv.backend("jax", device=given)
        assert be.device == device
        assert be.asarray(np.ones(2)).device == device
        assert be == cv.backend("jax", device=device)
    assert device in be.devices()
    assert cv.backend_of(be.asarray(np.ones(2))) == be


def test_a_mistyped_dtype(jx):
    with pytest.raises(cv.PrecisionError, match="float46"):
        jx.asarray(np.ones(2), dtype="float46")


def test_integer_parameters_are_refused(jx):
    with pytest.raises(cv.DataError, match=r"'n' has dtype int64"):
        cv.Model(lambda p, x: x, {"n": jx.asarray(np.arange(3))})


def test_the_factor_of_a_matrix_that_has_none(jx):
    assert jx.cholesky(jnp.eye(3))[1] is True
    assert jx.cholesky(-jnp.eye(3))[1] is False
    _, ok = jax.jit(jx.cholesky)(-jnp.eye(3))
    assert not bool(ok)


def test_arrays_without_values(jx):
    seen = []

    @jax.jit
    def f(x):
        seen.append((jx.owns(x), jx.is_abstract(x), cv.backend_of(x).name, cv.namespace(x) is jx.xp))
        with pytest.raises(cv.UnsupportedError, match=r"jax\.jit"):
            jx.to_numpy(x)
        return jx.asarray(x, dtype="float32")

    assert f(jnp.ones(3)).dtype == jnp.float32
    assert seen == [(True, True, "jax", True)]
    assert not jx.is_abstract(jnp.ones(3))


def test_an_array_of_outside_has_no_values_inside(jx):
    """What is computed of it there is recorded, not done."""
    outside, seen = jnp.ones(3), []
    jax.jit(lambda x: (seen.append(jx.is_abstract(outside)), x)[1])(outside)
    jax.grad(lambda x: (seen.append(jx.is_abstract(outside)), jnp.sum(x))[1])(outside)
    assert seen == [True, False]


def test_waiting_and_memory(jx):
    x = jnp.ones((300, 300))
    y = x @ x @ x
    jx.synchronize()
    assert y.is_ready()
    memory = jx.memory()
    assert memory is None or memory > 0


def test_triangular_systems(jx, generator):
    a, b = jnp.asarray(np.tril(generator.standard_normal((4, 4))) + 3 * np.eye(4)), jnp.asarray(generator.standard_normal((4, 2)))
    full = a + jnp.triu(jnp.full((4, 4), 7.0), 1)
    for rhs in (b, b[:, 0]):
        np.testing.assert_allclose(a @ jx.solve_triangular(full, rhs), rhs, atol=1e-12)
        np.testing.assert_allclose(a.T @ jx.solve_triangular(full, rhs, transposed=True), rhs, atol=1e-12)
        np.testing.assert_allclose(a.T @ jx.solve_triangular(full.T, rhs, lower=False), rhs, atol=1e-12)
