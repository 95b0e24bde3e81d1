"""An extension is imported the first time its approximation meets its backend, and not before."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

import curvature as cv
from curvature import errors

PLUGIN = """
import curvature as cv

@cv.hookimpl
def curvature_register_approximations():
    return [cv.ApproximationSpec("mine", "mine_method:Mine", extensions={"numpy": "mine_numpy", "torch": "mine_torch"})]
"""
METHOD = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Mine:
    rank: int = 2
"""


@pytest.fixture
def mine(install: Callable) -> None:
    modules = {"mine_plugin": PLUGIN, "mine_method": METHOD, "mine_numpy": "loads = 1", "mine_torch": "1 / 0"}
    install("mine-dist", {"mine": "mine_plugin"}, modules)


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("how", ["name", "instance", "class", "subclass"])
def test_first_meeting_imports_it(how: str) -> None:
    method = cv.approximation("mine")
    subject = {
        "name": "mine",
        "instance": method,
        "class": type(method),
        "subclass": type("Narrower", (type(method),), {}),
    }[how]
    cv.registry.load_extension(subject, "kit")
    assert "mine_numpy" not in sys.modules
    cv.registry.load_extension(subject, "numpy")
    assert "mine_numpy" in sys.modules
    assert "mine_torch" not in sys.modules


@pytest.mark.usefixtures("mine")
def test_broken_extension_names_distribution_and_backend_every_time() -> None:
    for _ in range(2):
        with pytest.raises(errors.PluginLoadError, match=r"'mine' for backend 'torch' of mine-dist 1\.2\.3.*ZeroDiv"):
            cv.registry.load_extension("mine", "torch")


def test_method_that_nobody_registered_has_none() -> None:
    class Unregistered:
        pass

    cv.registry.load_extension(Unregistered(), "numpy")


def test_unknown_name() -> None:
    with pytest.raises(errors.UnknownApproximationError):
        cv.registry.load_extension("kfacc", "numpy")
