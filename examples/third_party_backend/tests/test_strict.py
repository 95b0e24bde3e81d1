"""What is special about strict; that it means what the library means is what the conformance suite tests."""

import array_api_strict
import numpy as np
import pytest
from strict.backend import Strict

import curvature as cv


@pytest.fixture
def be():
    return cv.backend("strict", dtype="float64")


def test_arrays_are_those_of_the_library(be):
    array = be.asarray([1.0, 2.0])
    assert isinstance(be, Strict)
    assert type(array) is type(array_api_strict.asarray([1.0]))
    assert cv.backend_of(array).name == "strict"
    assert be.to_numpy(array).tolist() == [1.0, 2.0]


def test_a_gradient(be):
    value, gradient = be.value_and_gradient(lambda x: cv.namespace(x).sum(x**3), be.asarray([1.0, 2.0]))
    assert float(value) == 9.0
    assert be.to_numpy(gradient).tolist() == [3.0, 12.0]


def test_its_devices_are_kept_apart(be):
    one, other = (cv.backend("strict", device=array_api_strict.Device(name)).asarray([1.0]) for name in ("device1", "device2"))
    assert cv.backend_of(one).device == array_api_strict.Device("device1")
    with pytest.raises(cv.MixedBackendError, match="device2"):
        cv.backend_of(one, other)


def test_the_fisher_information_of_logistic_regression(be):
    """F = Xᵀ diag(p (1 - p)) X / N, in plain NumPy."""
    rng = np.random.default_rng(0)
    x, weight, y = rng.normal(size=(20, 3)), rng.normal(size=3), rng.integers(0, 2, 20).astype(float)
    model = cv.Model(lambda params, x: x @ params["weight"], {"weight": be.asarray(weight)})
    fisher = cv.Fisher(cv.Problem(model, cv.Bernoulli(), (be.asarray(x), be.asarray(y))))
    p = 1 / (1 + np.exp(-x @ weight))
    np.testing.assert_allclose(be.to_numpy(fisher.to_dense()), x.T @ ((p - p**2)[:, None] * x) / 20, rtol=1e-12)
