"""Subjects of the suite, and how a planted defect is looked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import array_api_strict
import pytest

import curvature as cv
from curvature_conformance import issues

BACKENDS: dict[str, Callable[[], Any]] = {
    "numpy": lambda: "numpy",
    "strict": lambda: cv.ArrayBackend("strict", array_api_strict),
    "torch": lambda: "torch",
}


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A backend: by name, or a bare namespace as an object."""
    if request.param != "torch":
        yield BACKENDS[request.param]()
        return
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are tiny, and tests may run side by side
    yield BACKENDS[request.param]()
    torch.set_num_threads(threads)


@pytest.fixture
def caught() -> Callable[..., None]:
    """Assert that a check fails on a subject, with a message that says the given words."""

    def assert_caught(subject: Any, check: str, *words: str, **options: Any) -> None:
        found = issues(subject, only_checks=check, **options)
        assert found, f"{check} does not notice it"
        assert any(all(word in message for word in words) for message in found), "\n\n".join([str(words), *found[:3]])

    return assert_caught
