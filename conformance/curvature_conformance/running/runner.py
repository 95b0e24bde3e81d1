"""From a subject to its trials, and from trials to a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import curvature as cv

from .. import theory
from ..checklist import Check, all_checks
from ..reports.report import Report
from ..subject import Subject, subject_of
from . import environment
from . import expectations as gaps
from .expectations import Expectation
from .processes import Workers
from .selection import WHOLE, Selection
from .trial import Outcome, Trial
from .work import Work


def plan(subject: Subject, *, selection: Selection = WHOLE, expectations: Sequence[Expectation] = ()) -> list[Trial]:
    """All trials of a subject: its checks on every scenario to which they apply.

    Args:
        selection: which of them.
        expectations: gaps, besides those that plugins declare.

    Raises:
        ValueError: a pattern of the selection fits nothing, or a declared gap is about no check.
    """
    checks = [check for kind in subject.kinds for check in all_checks(kind)]
    scenarios = ["" if e is None else e.name for kind in subject.kinds for e in subject.examples(kind)]
    selection.require_known([check.name for check in checks], scenarios)
    declared = (*gaps.declared(subject.name), *expectations)
    trials: list[Trial] = []
    for check in checks:
        if selection.takes_check(check.name):
            trials += _trials(subject, check, selection, declared)
    if selection.whole:
        pairs = [(trial.check.name, trial.scenario_name) for trial in trials]
        stale = gaps.unmatched(declared, pairs)
        if stale:
            raise ValueError(f"gaps are declared for {subject.name!r} of which no check speaks: {stale}")
        misspelt = theory.unmatched(subject.name, scenarios)
        if misspelt and subject.kind == "approximation":
            raise ValueError(
                f"theorems are declared for {subject.name!r} that are about another approximation, or about no scenario or "
                f"matrix that there is: {misspelt}"
            )
    return trials


def _trials(subject: Subject, check: Check, selection: Selection, declared: Sequence[Expectation]) -> list[Trial]:
    setting = subject.setting.with_slack(selection.slack(check.name))
    trials = []
    for example in subject.examples(check.kind):
        if not selection.takes_scenario(example):
            continue
        name = "" if example is None else example.name
        gap = next((gap for gap in declared if gap.covers(check.name, name)), None)
        trial = Trial(check, setting, example, gap)
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
    fast: bool = False,
    tolerances: Mapping[str, float] | None = None,
    expectations: Sequence[Expectation] = (),
    after_each: Callable[[Outcome], None] | None = None,
) -> Report:
    """Run the suite on a subject, in this process.

    Args:
        subject: name of a backend or an approximation, a ``Backend``, an ``Approximation``, a ``Likelihood``, an ``Operator``
            or a ``Problem``.
        backend: where an approximation or a likelihood is tested ("numpy").
        device, dtype: of the backend; float64 by default.
        only_checks, only_scenarios: patterns of names; checks without a scenario have the scenario "".
        fast: only the scenarios of the fast selection.
        tolerances: by pattern of a check's name, the multiple of the suite's tolerance that it is allowed.
        expectations: gaps, besides those that plugins declare.
        after_each: called with every outcome.

    Raises:
        UnknownSubjectError, ValueError: as ``subject_of`` and ``plan`` do.
        BackendUnavailableError: the backend cannot be used here.
    """
    found = subject_of(subject, backend=backend, device=device, dtype=dtype)
    selection = Selection(only_checks, only_scenarios, fast, dict(tolerances or {}))
    trials = plan(found, selection=selection, expectations=expectations)
    return perform(found, trials, after_each, selection=selection)


def perform(
    subject: Subject,
    trials: Iterable[Trial],
    after_each: Callable[[Outcome], None] | None = None,
    *,
    selection: Selection = WHOLE,
) -> Report:
    """Run trials one after the other. On Ctrl-C the report holds what was done so far and says that it was interrupted."""
    outcomes: list[Outcome] = []
    interrupted, start = False, perf_counter()
    try:
        for trial in trials:
            outcomes.append(trial.run())
            if after_each is not None:
                after_each(outcomes[-1])
    except KeyboardInterrupt:
        interrupted = True
    return Report.of(subject, outcomes, selection=selection, interrupted=interrupted, elapsed=perf_counter() - start)


def perform_in_processes(
    work: Work,
    subject: Subject,
    trials: Sequence[Trial],
    processes: int,
    after_each: Callable[[Outcome], None] | None = None,
) -> Report:
    """Run trials in worker processes, which make the same plan from ``work``; otherwise as ``perform``.

    Raises:
        WorkerError: no worker starts, or they see other plugins than this process.
    """
    start = perf_counter()
    workers = Workers(work, trials, processes, environment.asked_for(subject.setting.backend.name, str(subject.setting.device)))
    outcomes, interrupted = workers.run(after_each)
    report = Report.of(subject, outcomes, selection=work.selection, interrupted=interrupted, elapsed=perf_counter() - start)
    return replace(report, environment={**report.environment, **workers.extra})


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
