"""Dtypes and devices of what is loaded."""

from __future__ import annotations

import re

import array_api_strict
import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense, Diagonal, Kronecker

STRICT = cv.ArrayBackend("strict", array_api_strict)
BITS = np.array([0x0000, 0x8000, 0x0001, 0x3F80, 0x7F7F, 0x7F80, 0xFF80, 0x0080, 0x4049], dtype=np.uint16)


def bfloat16(torch):
    return torch.tensor(BITS.view(np.int16)).view(torch.bfloat16)


def test_bfloat16_comes_back_to_the_last_bit(tmp_path):
    import torch

    operator = Diagonal(bfloat16(torch))
    cv.save(operator, tmp_path / "x")
    loaded = cv.load(tmp_path / "x", "torch")
    assert loaded.dtype is torch.bfloat16
    np.testing.assert_array_equal(loaded.entries.view(torch.int16).numpy().view(np.uint16), BITS)


@pytest.mark.parametrize("backend", ["numpy", STRICT])
def test_bfloat16_where_there_is_none(tmp_path, backend):
    import torch

    cv.save({"x": bfloat16(torch)}, tmp_path / "x")
    with pytest.raises(cv.PrecisionError, match=r"has no bfloat16; ask for .* dtype='float32'") as caught:
        cv.load(tmp_path / "x", backend)
    assert caught.value.__notes__ == ["while loading 'x'"]
    for dtype in ("float32", "float64"):
        wide = cv.load(tmp_path / "x", backend, dtype=dtype)["x"]
        np.testing.assert_array_equal(np.asarray(wide), bfloat16(torch).to(getattr(torch, dtype)).numpy())


def test_bfloat16_of_numpy_arrays(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    import torch

    cv.save(BITS.view(ml_dtypes.bfloat16), tmp_path / "x")
    loaded = cv.load(tmp_path / "x", "torch")
    np.testing.assert_array_equal(loaded.view(torch.int16).numpy().view(np.uint16), BITS)


def test_float16(tmp_path):
    values = np.array([0.0, -0.0, 1.5, 6e-8, np.inf, np.nan], dtype=np.float16)
    cv.save(values, tmp_path / "x")
    assert cv.load(tmp_path / "x").tobytes() == values.tobytes()
    assert cv.load(tmp_path / "x", "torch").numpy().tobytes() == values.tobytes()
    with pytest.raises(cv.PrecisionError, match="'strict' has no float16"):
        cv.load(tmp_path / "x", STRICT)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.0, 5e-324, np.nextafter(1, 2)])
def test_special_values_keep_their_bits(value, tmp_path):
    array = np.array([value, 1.0])
    cv.save(Diagonal(array), tmp_path / "x")
    for backend in ("numpy", "torch"):
        loaded = cv.load(tmp_path / "x", backend)
        assert loaded.backend.to_numpy(loaded.entries).tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "longdouble", "datetime64[s]", "U3", "object"])
def test_dtypes_that_are_not_everywhere_are_refused(dtype, tmp_path):
    array = np.zeros(2, dtype=dtype)
    with pytest.raises(cv.PrecisionError, match=f"an array of {re.escape(array.dtype.name)} cannot be carried") as caught:
        cv.save({"a": [array]}, tmp_path / "x")
    assert caught.value.__notes__ == ["while saving 'a.0'"]
    assert not list(tmp_path.iterdir())


def test_float8_is_refused(tmp_path):
    import torch

    with pytest.raises(cv.PrecisionError, match=r"float8_e5m2 cannot be carried .* convert it to float32"):
        cv.save(torch.zeros(2, dtype=torch.float8_e5m2), tmp_path / "x")


def test_the_dtype_asked_for(be, tmp_path):
    tree = {"k": Kronecker([np.eye(2) / 3, np.eye(3)]), "n": np.arange(3), "m": np.array([True]), "f": np.float64(1 / 3)}
    cv.save(tree, tmp_path / "x")
    loaded = cv.load(tmp_path / "x", be, dtype="float32")
    host = be.to_numpy
    assert [host(f.array).dtype for f in loaded["k"].factors] == [np.float32, np.float32]
    np.testing.assert_array_equal(host(loaded["k"].factors[0].array), (np.eye(2) / 3).astype(np.float32))
    assert host(loaded["f"]) == np.float32(1 / 3)
    assert (host(loaded["n"]).dtype, host(loaded["m"]).dtype) == (np.int64, np.bool_)
    assert loaded["k"].dtype == be.asarray([1.0], dtype="float32").dtype


def test_the_dtype_of_the_backend(tmp_path):
    cv.save([np.ones(2) / 3, np.arange(2)], tmp_path / "x")
    floats, integers = cv.load(tmp_path / "x", cv.backend("numpy", dtype="float32"))
    assert (floats.dtype, integers.dtype) == (np.float32, np.int64)


class Narrow(cv.ArrayBackend):
    """A library that has float64 by name and gives float32, as JAX does without x64."""

    def asarray(self, x, dtype=None, device=None):
        made = super().asarray(x, dtype=dtype, device=device)
        return made.astype(np.float32) if made.dtype == np.float64 else made


def test_float64_asked_of_a_backend_that_narrows(tmp_path):
    narrow = Narrow("narrow", cv.backend("numpy").xp)
    cv.save(Dense(np.eye(2)), tmp_path / "x")
    with pytest.raises(cv.PrecisionError, match=r"'narrow' gave float32 where float64 was asked for; .* dtype='float32'"):
        cv.load(tmp_path / "x", narrow)
    assert cv.load(tmp_path / "x", narrow, dtype="float32").dtype == np.float32
    with pytest.raises(cv.PrecisionError, match="'narrow' gave float32 where float64"):
        Dense(np.eye(2)).to(narrow)


def test_float64_on_jax_without_it(tmp_path):
    import os
    import subprocess
    import sys

    pytest.importorskip("jax")
    cv.save(Dense(np.eye(2) / 3), tmp_path / "x")
    code = (
        "import sys, curvature as cv\n"
        "try:\n    cv.load(sys.argv[1], 'jax')\n"
        "except cv.PrecisionError as error:\n    print('refused')\n"
        "print(cv.load(sys.argv[1], 'jax', dtype='float32').dtype)"
    )
    env = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True, env=env, timeout=300)
    assert done.stdout.split() == ["refused", "float32"], done.stderr


@pytest.mark.parametrize("dtype", ["int32", "float99", "complex64"])
def test_a_dtype_that_is_no_floating_one(dtype, tmp_path):
    cv.save(np.ones(2), tmp_path / "x")
    with pytest.raises(cv.DataError, match="the name of a floating dtype"):
        cv.load(tmp_path / "x", dtype=dtype)


def test_a_device(tmp_path):
    cv.save(Diagonal(np.ones(2)), tmp_path / "x")
    loaded = cv.load(tmp_path / "x", "torch", device="cpu")
    assert str(loaded.backend.device) == "cpu"
    assert loaded.entries.device.type == "cpu"
    with pytest.raises(cv.DataError, match="has a device of its own"):
        cv.load(tmp_path / "x", cv.backend("torch"), device="meta")
    with pytest.raises(cv.BackendUnavailableError):
        cv.load(tmp_path / "x", "torch", device="cuda:99")
    with pytest.raises(cv.UnknownBackendError, match="torhc"):
        cv.load(tmp_path / "x", "torhc")
