"""The suite as a pytest plugin.

``pytest -p curvature_conformance.plugin --pyargs curvature_conformance.suite --curvature-backend NAME`` tests a backend;
with ``--curvature-approximation NAME`` (once or several times) approximations are tested on it as well.
"""

from __future__ import annotations

from typing import Any

import pytest

import curvature as cv

from .running.runner import plan
from .running.selection import Selection
from .running.trial import Trial
from .subject import backend_subject, subject_of


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the suite."""
    group = parser.getgroup("curvature", "conformance suite of curvature")
    group.addoption("--curvature-backend", metavar="NAME", help="the backend to test, and on which approximations are tested")
    group.addoption(
        "--curvature-approximation",
        metavar="NAME",
        action="append",
        default=[],
        help="an approximation to test (may be repeated)",
    )
    group.addoption("--curvature-device", metavar="DEVICE", help="device of the backend")
    group.addoption("--curvature-dtype", metavar="DTYPE", choices=("float64", "float32"), help="float64 (default) or float32")
    group.addoption("--curvature-require", action="store_true", help="an absent backend is an error, not a run left out")
    group.addoption("--curvature-fast", action="store_true", help="only a few scenarios, that are small and differ in kind")


_FIXTURES = {"backend_trial": "backend", "approximation_trial": "approximation"}
_TRIALS: pytest.StashKey[dict[str, list[Trial]]] = pytest.StashKey()
_WHAT = "name what to test: --curvature-backend NAME, --curvature-approximation NAME, or both"


def pytest_configure(config: pytest.Config) -> None:
    """Find the subjects before anything is collected, so that a wrong name is a usage error and nothing else."""
    backend: str | None = config.getoption("--curvature-backend")
    methods: list[str] = config.getoption("--curvature-approximation")
    where: dict[str, Any] = {"device": config.getoption("--curvature-device"), "dtype": config.getoption("--curvature-dtype")}
    selection = Selection(fast=config.getoption("--curvature-fast"))
    try:
        backends = [] if backend is None else [backend_subject(backend, **where)]
        approximations = [subject_of(cv.approximation(name), backend=backend, **where) for name in methods]
        config.stash[_TRIALS] = {
            "backend": [trial for subject in backends for trial in plan(subject, selection=selection)],
            "approximation": [trial for subject in approximations for trial in plan(subject, selection=selection)],
        }
    except cv.BackendUnavailableError as error:
        if config.getoption("--curvature-require"):
            raise pytest.UsageError(f"required, but not run: {error}") from error
        pytest.exit(f"not run: {error}", returncode=pytest.ExitCode.NO_TESTS_COLLECTED)
    except (cv.CurvatureError, ValueError, TypeError) as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each check and scenario."""
    for fixture, kind in _FIXTURES.items():
        if fixture in metafunc.fixturenames:
            trials = metafunc.config.stash[_TRIALS][kind]
            metafunc.parametrize(fixture, [pytest.param(trial, id=_identity(trial, kind)) for trial in trials])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for; where nothing is left, nothing would be shown, and that is an error."""
    trials = config.stash[_TRIALS]
    kinds = [{_FIXTURES[name] for name in getattr(item, "fixturenames", ()) if name in _FIXTURES} for item in items]
    kept = [item for item, kind in zip(items, kinds, strict=True) if not kind or any(trials[k] for k in kind)]
    if any(kinds) and not any(trials.values()):
        raise pytest.UsageError(_WHAT)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _identity(trial: Trial, kind: str) -> str:
    label = trial.setting.label if kind == "approximation" else trial.setting.backend.name
    return f"{label}-{trial.name}"
