"""What the library ships conforms, on every backend."""

from __future__ import annotations

from typing import Any

import pytest
from curvature_conformance import issues

import curvature as cv


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
