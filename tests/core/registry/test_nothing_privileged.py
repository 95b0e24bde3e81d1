"""First-party backends and plugins come in by the door that is open to everybody."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import curvature as cv

ROOT = Path(__file__).resolve().parents[3]
PLUGINS = sorted(path.parent for root in ("backends", "plugins") for path in (ROOT / root).glob("*/__init__.py"))
PUBLIC = {
    "curvature",
    "curvature.autodiff",
    "curvature.backend",
    "curvature.linalg",
    "curvature.optim",
    "curvature.operators",
    "curvature.trees",
}


def _sources(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text(), str(path))


def _docstrings(tree: ast.Module) -> set[int]:
    """Identities of the string constants that stand alone: docstrings, and notes below attributes."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def _strings(tree: ast.Module) -> set[str]:
    prose = _docstrings(tree)
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose)
    return {node.value for node in constants if isinstance(node.value, str)}


def _imports(tree: ast.Module) -> Iterator[str]:
    """Absolute modules that are imported anywhere in a file, inside functions as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def test_there_is_something_to_look_at() -> None:
    assert {"curvature_numpy", "curvature_torch", "curvature_kronecker"} <= {path.name for path in PLUGINS}
    assert len(list(_sources(ROOT / "curvature"))) > 10


def test_each_registers_through_an_entry_point() -> None:
    named = {point.value.partition(":")[0] for point in entry_points(group="curvature")}
    assert {path.name for path in PLUGINS} <= named


def test_what_is_registered_comes_from_plugins_alone() -> None:
    loaded = {name for plugin in cv.registry.plugins() for name in plugin.provides}
    assert {info.name for info in cv.backends()} | {info.name for info in cv.approximations()} == loaded


def test_the_core_never_names_a_plugin() -> None:
    modules = {path.name for path in PLUGINS}
    for path, tree in _sources(ROOT / "curvature"):
        spoken = {text for text in _strings(tree) for name in modules if name in text}
        imported = {name for name in _imports(tree) if name.partition(".")[0] in modules}
        assert not spoken | imported, f"{path} names a plugin"


def test_the_registry_knows_no_name_that_a_plugin_registers() -> None:
    names = {name for plugin in cv.registry.plugins() for name in plugin.provides}
    for path, tree in _sources(ROOT / "curvature" / "registry"):
        assert not _strings(tree) & names, path


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_uses_the_public_interface_only(folder: Path) -> None:
    for path, tree in _sources(folder):
        for module in _imports(tree):
            top = module.partition(".")[0]
            allowed = top != "curvature" or module in PUBLIC
            assert allowed, f"{path} imports {module}, which is private"
            assert not top.startswith("curvature_") or top in (folder.name, "curvature_conformance"), f"{path} imports {module}"
