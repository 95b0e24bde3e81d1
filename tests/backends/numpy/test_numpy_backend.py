"""NumPy as a backend."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature_numpy.backend import NumpyBackend


def test_it_is_an_array_backend_over_numpy():
    be = NumpyBackend(dtype="float32")
    assert isinstance(be, cv.ArrayBackend)
    assert (be.name, be.dtype) == ("numpy", "float32")
    assert isinstance(be.asarray([1.0]), np.ndarray)
    assert be.asarray([1.0]).dtype == np.float32
    assert be.owns(np.ones(2))


@pytest.mark.parametrize("device", [None, "cpu"])
def test_the_cpu_is_its_only_device(device):
    assert NumpyBackend(device=device).asarray([1.0], device="cpu").shape == (1,)
    with pytest.raises(cv.UnsupportedError, match="only 'cpu'"):
        NumpyBackend(device="cuda")


def test_gradient_of_the_rosenbrock_function():
    be = NumpyBackend()
    x = be.asarray([-1.2, 1.0])
    _, gradient = be.value_and_gradient(lambda x: (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2, x)
    np.testing.assert_allclose(gradient, [-215.6, -88.0], rtol=1e-12)
