"""Subjects of the suite, and how a planted defect is looked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_strict
import pytest
from curvature_conformance import issues

import curvature as cv

BACKENDS: dict[str, Callable[[], Any]] = {
    "numpy": lambda: "numpy",
    "strict": lambda: cv.ArrayBackend("strict", array_api_strict),
    "torch": lambda: "torch",
}


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Any:
    """A backend: by name, or a bare namespace as an object."""
    if request.param == "torch":
        pytest.importorskip("torch")
    return BACKENDS[request.param]()


@pytest.fixture
def caught() -> Callable[..., None]:
    """Assert that a check fails on a subject, with a message that says the given words."""

    def assert_caught(subject: Any, check: str, *words: str, **options: Any) -> None:
        found = issues(subject, only_checks=check, **options)
        assert found, f"{check} does not notice it"
        assert any(all(word in message for word in words) for message in found), "\n\n".join([str(words), *found[:3]])

    return assert_caught
