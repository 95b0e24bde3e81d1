"""Tensors from numbers, NumPy arrays and tensors; devices and precision; factorisations."""

import warnings

import numpy as np
import pytest
import torch

import curvature as cv
from curvature_torch.backend import TorchBackend


class Foreign:
    """Stands in for an array of another library."""

    def __dlpack__(self):
        raise AssertionError("never read")


def test_numpy_arrays_are_copied():
    original = np.arange(6.0).reshape(2, 3)
    made = TorchBackend().asarray(original)
    original[:] = 0
    assert made.dtype is torch.float64
    assert made.flatten().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "awkward",
    [
        np.broadcast_to(np.array([1.0, 2.0]), (3, 2)),
        np.arange(6.0).reshape(2, 3)[:, ::-1],
        np.arange(6.0).astype(">f8"),
        np.float64(2.5),
    ],
    ids=["read-only", "negative strides", "big-endian", "scalar"],
)
def test_awkward_numpy_arrays_are_taken_without_a_warning(awkward):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(TorchBackend().asarray(awkward).numpy(), awkward)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_of_the_backend_is_for_floating_values_only(dtype):
    be = TorchBackend(dtype=dtype)
    assert be.asarray(np.ones(2, dtype=np.float16)).dtype is getattr(torch, dtype)
    assert be.asarray([0.5, 1.0]).dtype is getattr(torch, dtype)
    assert be.asarray(torch.ones(2, dtype=torch.float64)).dtype is getattr(torch, dtype)
    assert be.asarray([1, 2]).dtype is torch.int64
    assert be.asarray(np.array([True])).dtype is torch.bool
    assert be.asarray([1, 2], dtype="float64").dtype is torch.float64
    assert be.asarray([0.5], dtype=torch.float16).dtype is torch.float16


def test_a_dtype_that_is_none_is_refused():
    with pytest.raises(TypeError, match="floaty"):
        TorchBackend().asarray([1.0], dtype="floaty")


def test_arrays_of_other_libraries_are_refused():
    with pytest.raises(cv.MixedBackendError, match="Foreign"):
        TorchBackend().asarray(Foreign())


def test_to_numpy_detaches():
    x = torch.ones(3, requires_grad=True) * 2
    np.testing.assert_array_equal(TorchBackend().to_numpy(x), np.full(3, 2.0))


def test_a_missing_device_says_why():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(cv.BackendUnavailableError, match="cuda"):
        TorchBackend(device="cuda")
    with pytest.raises(cv.BackendUnavailableError, match="gpu"):
        TorchBackend(device="gpu")


def test_the_device_is_taken():
    assert TorchBackend(device="meta").asarray([1.0]).device.type == "meta"
    assert TorchBackend().asarray(torch.ones(1, device="meta")).device.type == "meta"
    assert torch.device("cpu") in TorchBackend().devices()


def test_backends_compare_by_device_and_dtype():
    assert TorchBackend() == TorchBackend()
    assert TorchBackend(dtype="float64") == TorchBackend(dtype=torch.float64)
    assert len({TorchBackend(), TorchBackend(device="cpu"), TorchBackend(dtype="float64")}) == 3
    assert repr(TorchBackend("cpu", "float64")) == "TorchBackend('torch', device='cpu', dtype='float64')"


def test_cholesky_symmetrises_and_says_whether_there_is_one():
    be = TorchBackend()
    a = torch.tensor([[4.0, 3.0], [1.0, 3.0]], dtype=torch.float64)
    factor, ok = be.cholesky(a)
    assert ok
    torch.testing.assert_close(factor @ factor.T, (a + a.T) / 2)
    torch.testing.assert_close(factor, factor.tril())
    for bad in (-a, a * torch.nan):
        assert be.cholesky(bad)[1] is False


def test_eigh_symmetrises():
    a = torch.tensor([[1.0, 4.0], [0.0, 3.0]], dtype=torch.float64)
    values, vectors = TorchBackend().eigh(a)
    torch.testing.assert_close(vectors @ torch.diag(values) @ vectors.T, (a + a.T) / 2)
    assert values[0] < values[1]


def test_eigh_tries_float64_where_float32_fails(monkeypatch):
    original = torch.linalg.eigh

    def failing(a):
        if a.dtype is torch.float32:
            raise torch.linalg.LinAlgError("did not converge")
        return original(a)

    monkeypatch.setattr(torch.linalg, "eigh", failing)
    values, vectors = TorchBackend().eigh(torch.diag(torch.tensor([2.0, 1.0])))
    assert values.dtype is vectors.dtype is torch.float32
    assert values.tolist() == [1.0, 2.0]


def test_eigh_of_nan_raises():
    with pytest.raises(cv.ConvergenceError, match="2, 2"):
        TorchBackend().eigh(torch.full((2, 2), torch.nan))


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("columns", [(), (3,)])
def test_solve_triangular(lower, transposed, columns):
    torch.manual_seed(0)
    full = torch.randn(4, 4, dtype=torch.float64) + 4 * torch.eye(4, dtype=torch.float64)
    a = full.tril() if lower else full.triu()
    b = torch.randn(4, *columns, dtype=torch.float64)
    x = TorchBackend().solve_triangular(a, b, lower=lower, transposed=transposed)
    assert x.shape == b.shape
    torch.testing.assert_close((a.T if transposed else a) @ x, b)


def test_claims_are_complete():
    from curvature.backend.capabilities import CAPABILITIES

    assert set(TorchBackend().capabilities) == set(CAPABILITIES)
    assert all(claim.supported for claim in TorchBackend().capabilities.values())


def test_arrays_with_strides_that_torch_refuses():
    """NumPy calls an array contiguous whatever the stride along an axis of one entry, or of none."""
    x = np.arange(5.0)
    record = np.zeros(1, dtype=[("a", "f8"), ("b", "i1")])
    for array in (x[::-1][:1], x[::-1][:0], np.ones((2, 3))[:, ::-1][:, :1][:1], record["a"]):
        assert array.flags.c_contiguous
        found = cv.backend("torch").asarray(array)
        np.testing.assert_array_equal(found.numpy(), array)
        assert tuple(found.shape) == array.shape
