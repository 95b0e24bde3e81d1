"""A registry of its own for each test, and distributions that exist for one test only."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import curvature as cv
from curvature.registry import store

Install = Callable[..., Path]


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> store.Registry:
    """A registry that has discovered nothing yet and is forgotten afterwards."""
    monkeypatch.delenv("CURVATURE_STRICT_PLUGINS", raising=False)
    monkeypatch.delenv("CURVATURE_DISABLE_PLUGINS", raising=False)
    fresh = store.Registry()
    monkeypatch.setattr(store, "active", fresh)
    return fresh


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution on sys.path as an installer would: modules and a dist-info folder with entry points."""
    before = set(sys.modules)

    def install(distribution: str, entry_points: Mapping[str, str], modules: Mapping[str, str], version: str = "1.2.3") -> Path:
        site = tmp_path / distribution
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"{name} = {value}" for name, value in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[curvature]", *lines, ""]))
        for name, source in modules.items():
            (site / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(site)
        importlib.invalidate_caches()
        return site

    yield install
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def offer() -> Callable[..., str]:
    """Register, by hand, a plugin that offers the given specs."""

    def offer(*specs: Any, name: str = "offered") -> str:
        backends = [spec for spec in specs if isinstance(spec, cv.BackendSpec)]
        approximations = [spec for spec in specs if isinstance(spec, cv.ApproximationSpec)]
        hooks = {
            "curvature_register_backends": lambda: backends,
            "curvature_register_approximations": lambda: approximations,
        }
        return cv.register(plugin_of(hooks), name=name)

    return offer


def plugin_of(hooks: Mapping[str, Callable[..., Any]]) -> ModuleType:
    """A module with these hook implementations."""
    module = ModuleType("made_up")
    for name, function in hooks.items():
        setattr(module, name, cv.hookimpl(function))
    return module


@pytest.fixture
def make_plugin() -> Callable[[Mapping[str, Callable[..., Any]]], ModuleType]:
    """Make a module with the given hook implementations."""
    return plugin_of


BACKEND_PLUGIN = """
import curvature as cv

@cv.hookimpl
def curvature_register_backends(api):
    return [cv.BackendSpec({name!r}, loader={loader!r}, {more})]
"""


@pytest.fixture
def backend_plugin() -> Callable[..., str]:
    """Source of a plugin module that registers one backend."""

    def source(name: str, loader: str = "absent:Absent", more: str = "") -> str:
        return BACKEND_PLUGIN.format(name=name, loader=loader, more=more)

    return source
