"""The examples in CONTRIBUTING.md do what they say: a reader who copies them has a backend and an approximation."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import array_api_strict
import numpy as np
import pytest

import curvature as cv

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


def _modules(example: str) -> dict[str, str]:
    """Module name → source, of the code block that shows the package ``example``."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    block = next(block for block in blocks if block.startswith(f"# {example}/"))
    parts = re.split(r"^# (\w+)/(\w+)\.py.*$", block, flags=re.MULTILINE)
    stems = zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    return {package if stem == "__init__" else f"{package}.{stem}": source for package, stem, source in stems}


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Make the modules of an example and register its package by hand."""
    registered = []

    def install(example: str, *, without: str = "") -> None:
        for name, source in _modules(example).items():
            module = ModuleType(name)
            module.__path__ = []
            monkeypatch.setitem(sys.modules, name, module)
            code = compile(source.replace(without, ""), f"{PAGE.name}: {name}", "exec", dont_inherit=True)
            exec(code, module.__dict__)
        registered.append(cv.register(sys.modules[example]))

    yield install
    for name in registered:
        cv.unregister(name)


def test_backend_example(install: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "my_arrays", array_api_strict)
    device = ModuleType("my_backend.device")
    device.why_not = lambda: None
    monkeypatch.setitem(sys.modules, "my_backend.device", device)
    install("my_backend")
    be = cv.backend("mine", dtype="float64")
    value, gradient = be.value_and_gradient(lambda x: cv.namespace(x).sum(x**3), be.asarray([1.0, 2.0]))
    assert float(value) == 9.0
    assert be.to_numpy(gradient).tolist() == [3.0, 12.0]
    device.why_not = lambda: "no device"
    cv.registry.rediscover()
    with pytest.raises(cv.BackendUnavailableError, match="no device"):
        cv.backend("mine")


@pytest.mark.parametrize("without", ["", ": cv.Structure"])  # an argument without annotation means anything
def test_approximation_example(install: Callable[..., None], without: str) -> None:
    install("tied_diagonal", without=without)
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(4, 3)), "b": np.zeros(3)}
    model = cv.Model(lambda p, x: x @ p["w"] + p["b"], params)
    problem = cv.Problem(model, cv.Categorical(), (rng.normal(size=(20, 4)), rng.integers(0, 3, 20)))
    fisher = cv.Fisher(problem)
    tied = cv.approximate(fisher, "tied-diagonal")
    exact = np.diag(np.asarray(fisher.to_dense()))
    assert tied.structure == "diagonal"
    expected = np.concatenate([np.full(3, exact[:3].mean()), np.full(12, exact[3:].mean())])
    np.testing.assert_allclose(np.asarray(tied.diagonal()), expected, rtol=1e-12)
