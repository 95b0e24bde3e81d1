"""The suite as a pytest plugin.

``pytest -p curvature_conformance.plugin --pyargs curvature_conformance.suite --curvature-backend NAME`` tests a backend;
with ``--curvature-approximation NAME`` (once or several times) approximations are tested on it as well.
"""

from __future__ import annotations

from typing import Any

import pytest

import curvature as cv

from .runner import plan
from .subject import backend_subject, subject_of
from .trial import Trial


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


_FIXTURES = {"backend_trial": "backend", "approximation_trial": "approximation"}
_TRIALS: pytest.StashKey[dict[str, list[Trial]]] = pytest.StashKey()
_WHAT = "name what to test: --curvature-backend NAME, --curvature-approximation NAME, or both"


def pytest_configure(config: pytest.Config) -> None:
    """Find the subjects before anything is collected, so that a wrong name is a usage error and nothing else."""
    backend: str | None = config.getoption("--curvature-backend")
    methods: list[str] = config.getoption("--curvature-approximation")
    where: dict[str, Any] = {"device": config.getoption("--curvature-device"), "dtype": config.getoption("--curvature-dtype")}
    try:
        backends = [] if backend is None else [backend_subject(backend, **where)]
        approximations = [subject_of(cv.approximation(name), backend=backend, **where) for name in methods]
        config.stash[_TRIALS] = {
            "backend": [trial for subject in backends for trial in plan(subject)],
            "approximation": [trial for subject in approximations for trial in plan(subject)],
        }
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


def check_trial(trial: Trial) -> None:
    """Run a trial as a test: a declared gap is an expected failure, a stale one a failure."""
    outcome = trial.run()
    if outcome.status == "declared":
        pytest.xfail(outcome.message)
    if not outcome.conforms:
        pytest.fail(f"{outcome}\n\n{trial.check.summary}", pytrace=False)


def _identity(trial: Trial, kind: str) -> str:
    label = trial.setting.label if kind == "approximation" else trial.setting.backend.name
    return f"{label}-{trial.name}"
