"""Subjects of the suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import array_api_strict
import pytest

import curvature as cv

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
