"""From a subject to its trials, and from trials to a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import curvature as cv

from . import expectations as gaps
from .checklist import Check, Kind, all_checks
from .expectations import Expectation
from .likelihood_case import LikelihoodExample, example_of, shipped
from .report import Report
from .scenario import Scenario
from .scenarios import all_scenarios
from .subject import Subject, subject_of
from .trial import Outcome, Trial

_KINDS: dict[str, tuple[Kind, ...]] = {
    "backend": ("backend", "matrix", "likelihood"),
    "approximation": ("approximation",),
    "likelihood": ("likelihood",),
}


def plan(
    subject: Subject,
    *,
    only_checks: str = "*",
    only_scenarios: str = "*",
    expectations: Sequence[Expectation] = (),
) -> list[Trial]:
    """All trials of a subject: its checks on every scenario to which they apply.

    Args:
        only_checks, only_scenarios: patterns of names; checks without a scenario have the scenario "".
        expectations: gaps, besides those that plugins declare.

    Raises:
        ValueError: a declared gap is about no check (where nothing was left out by a pattern).
    """
    declared = (*gaps.declared(subject.name), *expectations)
    trials: list[Trial] = []
    for kind in _KINDS[subject.kind]:
        for check in all_checks(kind):
            if fnmatchcase(check.name, only_checks):
                trials += _trials(subject, check, only_scenarios, declared)
    if (only_checks, only_scenarios) == ("*", "*"):
        pairs = [(trial.check.name, "" if trial.scenario is None else trial.scenario.name) for trial in trials]
        stale = gaps.unmatched(declared, pairs)
        if stale:
            raise ValueError(f"gaps are declared for {subject.name!r} of which no check speaks: {stale}")
    return trials


def _trials(subject: Subject, check: Check, only: str, declared: Sequence[Expectation]) -> list[Trial]:
    found: Sequence[Scenario | LikelihoodExample | None]
    if check.kind == "backend":
        found = (None,)
    elif check.kind == "likelihood":
        found = shipped() if subject.likelihood is None else (example_of(subject.likelihood),)
    else:
        found = all_scenarios()
    trials = []
    for scenario in found:
        name = "" if scenario is None else scenario.name
        if not fnmatchcase(name, only):
            continue
        gap = next((gap for gap in declared if gap.covers(check.name, name)), None)
        trial = Trial(check, subject.setting, scenario, gap)
        if check.applies(trial.case()):
            trials.append(trial)
    return trials


def run(
    subject: Any,
    *,
    backend: str | cv.Backend | None = None,
    device: Any = None,
    dtype: str | None = None,
    only_checks: str = "*",
    only_scenarios: str = "*",
    expectations: Sequence[Expectation] = (),
    after_each: Callable[[Outcome], None] | None = None,
) -> Report:
    """Run the suite on a subject.

    Args:
        subject: name of a backend or an approximation, a ``Backend``, an ``Approximation`` or a ``Likelihood``.
        backend: where an approximation or a likelihood is tested ("numpy").
        device, dtype: of the backend; float64 by default.
        after_each: called with every outcome.

    Raises:
        UnknownSubjectError, ValueError: as ``subject_of`` and ``plan`` do.
        BackendUnavailableError: the backend cannot be used here.
    """
    found = subject_of(subject, backend=backend, device=device, dtype=dtype)
    trials = plan(found, only_checks=only_checks, only_scenarios=only_scenarios, expectations=expectations)
    return perform(found, trials, after_each)


def perform(subject: Subject, trials: Iterable[Trial], after_each: Callable[[Outcome], None] | None = None) -> Report:
    """Run trials. On Ctrl-C the report holds what was done so far and says that it was interrupted."""
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        for trial in trials:
            outcomes.append(trial.run())
            if after_each is not None:
                after_each(outcomes[-1])
    except KeyboardInterrupt:
        interrupted = True
    return Report.of(subject, outcomes, interrupted=interrupted)


def issues(subject: Any, **options: Any) -> list[str]:
    """What is wrong with a subject, as messages; empty means that it conforms. Arguments as for ``run``.

    A run of no checks at all is an issue too: nothing has been shown.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """
    report = run(subject, **options)
    if report.interrupted:
        raise KeyboardInterrupt
    return report.issues
