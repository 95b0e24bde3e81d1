"""One run over all backends: the same models give the same numbers, and a backend that is slightly off is found."""

from __future__ import annotations

import array_api_strict
import numpy as np
import optree
import pytest

import curvature as cv
from curvature_conformance import all_scenarios
from curvature_conformance.agreement import TOLERANCES, compare

MODELS = {
    "GLM": "softmax-regression/plain",
    "MLP": "tanh-network/categorical",
    "CNN": "convolutional-network/plain",
    "transformer block": "transformer/block",
}


@pytest.fixture
def double_precision():
    """JAX with float64, as a user turns it on."""
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def strict():
    return cv.ArrayBackend("strict", array_api_strict)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.usefixtures("double_precision")
def test_every_backend_says_the_same_of_every_kind_of_model(model, dtype):
    assert TOLERANCES == {"float64": 1e-9, "float32": 2e-4}
    found = compare(["numpy", strict(), "torch", "jax"], dtype=dtype, only_scenarios=MODELS[model])
    assert len(found) >= 15
    assert [str(comparison) for comparison in found if not comparison.agrees] == []


class Off(cv.ArrayBackend):
    """NumPy with gradients that are off by a part in a million."""

    def value_and_gradient(self, f, params):
        value, gradient = super().value_and_gradient(f, params)
        return value, optree.tree_map(lambda a: a * (1 + 1e-6), gradient)


def test_a_backend_that_is_slightly_off_is_found():
    off = Off("off", cv.backend("numpy").xp)
    found = compare(["numpy", off], only_scenarios=MODELS["MLP"])
    bad = {comparison.quantity: comparison for comparison in found if not comparison.agrees}
    assert "gradient" in bad
    assert {"diagonal", "kfac"}.isdisjoint(bad)
    assert bad["gradient"].deviation == pytest.approx(1e-6, rel=1e-3)
    assert str(bad["gradient"]).endswith("gradient of numpy and off differ by 1e-06")


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="at least two different backends are compared, got numpy"):
        compare(["numpy"])
    with pytest.raises(ValueError, match="no scenario is called 'nothing'"):
        compare(["numpy", "torch"], only_scenarios="nothing")
    assert len({scenario.name for scenario in all_scenarios()}) == len(all_scenarios())
    assert np.isfinite(TOLERANCES["float32"])
