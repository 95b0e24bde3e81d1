"""What the library ships conforms, on every backend."""

from __future__ import annotations

from typing import Any

import array_api_strict
import pytest

import curvature as cv
from curvature_conformance import issues


def test_the_backends_conform(backend: Any) -> None:
    assert issues(backend) == []


@pytest.mark.parametrize("approximation", ["diagonal", "exact", "kfac"])
def test_the_approximations_conform(approximation: str, backend: Any) -> None:
    assert issues(approximation, backend=backend) == []


@pytest.mark.parametrize("subject", ["numpy", "kfac"])
def test_single_precision_conforms(subject: str) -> None:
    assert issues(subject, dtype="float32") == []


@pytest.mark.parametrize("options", [{"sharing": "reduce"}, {"damping": "exact"}], ids=str)
def test_kfac_with_other_options_conforms(options: dict[str, Any]) -> None:
    assert issues(cv.approximation("kfac", **options)) == []


def test_a_likelihood_as_a_subject_conforms() -> None:
    for likelihood in (cv.Categorical(), cv.Bernoulli(), cv.Gaussian(0.3), cv.Poisson()):
        assert issues(likelihood) == []


def test_a_device_that_is_not_the_default_conforms() -> None:
    elsewhere = cv.ArrayBackend("strict", array_api_strict, device=array_api_strict.Device("device1"))
    assert issues("kfac", backend=elsewhere) == []
    assert issues(elsewhere, only_checks="matrices/*") == []
