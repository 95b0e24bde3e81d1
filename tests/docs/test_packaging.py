"""The metadata agree with each other: pins with ranges, extras with messages, entry points with packages."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from curvature.registry import catalogue

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
PINS = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")]


def _requirements() -> list[Requirement]:
    lines = [*PROJECT["project"]["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != "curvature"]


@pytest.mark.parametrize("pin", PINS)
def test_a_constraint_is_one_exact_public_version(pin: str) -> None:
    assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin)


def test_every_requirement_is_pinned_within_its_range() -> None:
    pinned = dict(pin.split("==") for pin in PINS)
    for requirement in _requirements():
        assert Version(pinned[requirement.name]) in requirement.specifier, requirement


def test_extras_name_extras_that_exist() -> None:
    for extra, lines in EXTRAS.items():
        for requirement in map(Requirement, lines):
            if requirement.name == "curvature":
                assert requirement.extras <= set(EXTRAS), extra


def test_the_command_that_an_error_tells_names_an_extra_that_exists() -> None:
    known = catalogue.backends()
    entries = [entry for name in known.names for entry in known.claims(name)]
    told = {e.spec.extra for e in entries if e.plugin.distribution == "curvature" and e.spec.extra}
    assert told
    assert told <= set(EXTRAS)


def test_what_is_installed_is_this_working_tree() -> None:
    """A new entry point is seen only after ``pip install -e .``; say so here rather than in ten other tests."""
    installed = {p.name: p.value for p in entry_points(group="curvature") if p.dist.name == "curvature"}
    assert installed == PROJECT["project"]["entry-points"]["curvature"]


def test_the_versions_agree() -> None:
    import curvature

    assert curvature.__version__ == PROJECT["project"]["version"]


def test_no_packages_where_there_must_be_none() -> None:
    for folder in ("backends", "plugins", "conformance", "tests"):
        assert not (ROOT / folder / "__init__.py").exists()
