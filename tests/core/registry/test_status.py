"""``backends()`` and ``approximations()`` tell how everything stands, and never raise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import curvature as cv
from curvature.registry import ApproximationInfo, BackendInfo, catalogue

METHODS = """
from dataclasses import dataclass, field

@dataclass(frozen=True)
class Mine:
    \"\"\"A fine approximation.

    More about it.
    \"\"\"
    rank: int
    scale: float = 0.5
    names: list = field(default_factory=list)
    derived: int = field(init=False, default=3)

@dataclass(frozen=True)
class Bare:
    x: int = 1

class NoDataclass:
    pass
"""


def _backend(name: str) -> BackendInfo:
    return next(info for info in cv.backends() if info.name == name)


def _approximation(name: str) -> ApproximationInfo:
    return next(info for info in cv.approximations() if info.name == name)


def test_first_party_backends_are_told_with_version_and_devices() -> None:
    info = _backend("numpy")
    assert (info.status, info.reason, info.distribution) == ("usable", "", "curvature")
    assert info.version.split(".")[0].isdigit()
    assert "cpu" in info.devices


@pytest.mark.parametrize(
    ("more", "heavy", "status", "reason"),
    [
        ("requires=('no_such_framework',)", "", "not installed", "pip install no_such_framework"),
        ("requires=('no_such.inner',)", "", "not installed", "no_such.inner"),
        ("probe='kit_heavy:probe'", "def probe(): return 'no device'", "not usable", "no device"),
        ("probe='kit_heavy:probe'", "def probe(): raise OSError('driver')", "not usable", "OSError: driver"),
        ("probe='kit_heavy:absent'", "", "broken", "AttributeError"),
        ("", "1 / 0", "broken", "ZeroDivisionError"),
        ("", "", "broken", "AttributeError"),
        ("", "def Kit(device, dtype): raise RuntimeError('at birth')", "broken", "RuntimeError: at birth"),
        ("", "class Kit:\n    def __init__(self, **given): pass", "broken", "devices"),
        ("api=(7, 0)", "", "incompatible", "7.0"),
    ],
)
def test_status_and_reason(install: Callable, backend_plugin: Callable, more: str, heavy: str, status: str, reason: str) -> None:
    modules = {"kit_plugin": backend_plugin("kit", "kit_heavy:Kit", more), "kit_heavy": heavy}
    install("kit-dist", {"kit": "kit_plugin"}, modules)
    info = _backend("kit")
    assert info.status == status
    assert reason in info.reason
    assert info.distribution == "kit-dist"
    assert _backend("numpy").status == "usable"


def test_conflict_names_both_distributions(install: Callable, backend_plugin: Callable) -> None:
    for letter in "ab":
        install(f"{letter}-kit", {"kit": f"{letter}_kit"}, {f"{letter}_kit": backend_plugin("kit")})
    info = _backend("kit")
    assert (info.status, info.distribution) == ("conflict", "a-kit, b-kit")


def test_approximation_tells_options_defaults_and_summary(install: Callable) -> None:
    source = (
        "import curvature as cv\n@cv.hookimpl\ndef curvature_register_approximations():\n"
        "    return [cv.ApproximationSpec(n.lower(), 'mine_methods:' + n) for n in ('Mine', 'Bare', 'NoDataclass')]\n"
    )
    install("mine-dist", {"mine": "mine_plugin"}, {"mine_plugin": source, "mine_methods": METHODS}, version="4.5")
    info = _approximation("mine")
    assert (info.status, info.distribution, info.version) == ("usable", "mine-dist", "4.5")
    assert info.summary == "A fine approximation."
    assert list(info.options) == ["rank", "scale", "names"]
    assert repr(info.options["rank"]) == "required"
    assert (info.options["scale"], info.options["names"]) == (0.5, [])
    assert _approximation("bare").summary == ""
    broken = _approximation("nodataclass")
    assert (broken.status, broken.options) == ("broken", {})
    assert "not a dataclass" in broken.reason

    made = cv.approximation("mine", rank=3)
    assert (made.rank, made.scale) == (3, 0.5)
    with pytest.raises(TypeError, match=r"'mine' has no option 'rnk'; did you mean 'rank'\? \(options: rank, scale, n"):
        cv.approximation("mine", rnk=3)
    with pytest.raises(TypeError, match="'mine' has no option 'derived'"):
        cv.approximation("mine", rank=3, derived=3)
    with pytest.raises(TypeError, match="'mine' needs the option 'rank'"):
        cv.approximation("mine")


def test_first_party_approximations_are_usable() -> None:
    infos = {info.name: info for info in cv.approximations()}
    assert {"diagonal", "exact", "kfac"} <= set(infos)
    assert {name: info.reason for name, info in infos.items() if info.status != "usable"} == {}
    assert all(info.summary for info in infos.values())


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_claims_made_before_the_framework_is_imported_are_those_of_the_backend(name: str) -> None:
    known = catalogue.backends().find(name).spec.capabilities
    claimed = cv.backend(name).capabilities
    assert {key: claim.support for key, claim in known.items()} == {key: c.support for key, c in claimed.items()}
