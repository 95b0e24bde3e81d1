"""``curvature conform``: run the conformance suite on a backend or an approximation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..errors import BackendUnavailableError, CurvatureError
from ..registry import plugins
from ..registry.records import BY_HAND
from .problem_file import load_problem
from .training.problems import BadInput

if TYPE_CHECKING:
    from curvature_conformance import Outcome, Report, Selection, Subject, Trial
    from curvature_conformance.running.work import Work

FAILED, USAGE, NOT_RUN, INTERRUPTED = 1, 2, 3, 130


class Dtype(StrEnum):
    """Dtypes for which the suite knows tolerances."""

    float64 = "float64"
    float32 = "float32"


def conform(
    name: Annotated[
        str,
        typer.Argument(
            help="A backend or an approximation (`curvature list` shows them), or a Python file that defines a problem."
        ),
    ],
    backend: Annotated[str | None, typer.Option(help="Backend on which an approximation is tested (numpy).")] = None,
    device: Annotated[str | None, typer.Option(help="Device of the backend, such as cuda.")] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="By default float64 where the backend has it.")] = None,
    check: Annotated[str, typer.Option(help="Only checks of this name; * and ? are wildcards.")] = "*",
    scenario: Annotated[str, typer.Option(help="Only scenarios of this name; * and ? are wildcards.")] = "*",
    fast: Annotated[bool, typer.Option("--fast", help="Only a few scenarios, that are small and differ in kind.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write a report here: .html, .md or .json.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes: by default one for each core, or one on an accelerator.")
    ] = None,
    require: Annotated[bool, typer.Option("--require", help="A backend that cannot be used here is a failure.")] = False,
    commit: Annotated[str | None, typer.Option(help="Commit for the report, where there is no repository to ask.")] = None,
) -> None:
    """Check that a backend, an approximation or a problem of your own means what the library means.

    Exit codes: 0 it conforms; 1 it does not (or no check was run); 2 bad usage, such as an unknown name; 3 not run,
    because the backend cannot be used here (1 with --require); 130 interrupted.
    """
    from curvature_conformance import Selection, UnknownSubjectError, plan, subject_of
    from curvature_conformance.reports import provenance
    from curvature_conformance.reports.format import names_a_commit
    from curvature_conformance.running.work import Work

    console, errors = Console(), Console(stderr=True)
    provenance.ask_for_full_precision()
    try:
        _check_writable(report)
        if commit is not None and not names_a_commit(commit):
            raise ValueError(f"--commit takes all 40 hexadecimal digits, as `git rev-parse HEAD` prints them; got {commit!r}")
        precision = None if dtype is None else dtype.value
        selection = Selection(check, scenario, fast)
        if name.endswith(".py"):
            problem = load_problem(name, backend=backend, device=device, dtype=precision)
            subject, work = replace(subject_of(problem), name=name), None
        else:
            subject = subject_of(name, backend=backend, device=device, dtype=precision)
            work = Work(name, backend, device, precision, selection)
        trials = plan(subject, selection=selection)
    except BackendUnavailableError as error:
        errors.print(
            Text(f"{'required, but not run' if require else 'not run'}: {error}", style="red" if require else "yellow"),
            soft_wrap=True,
        )
        raise typer.Exit(FAILED if require else NOT_RUN) from None
    except (BadInput, CurvatureError, UnknownSubjectError, OSError, ValueError, TypeError) as error:
        errors.print(Text(f"curvature conform: {error}", style="red"), soft_wrap=True)
        raise typer.Exit(USAGE) from None
    found = _perform(subject, work, trials, processes, errors, selection)
    _show(found, console)
    if report is not None:
        (found if commit is None else replace(found, commit=commit)).write(report)
        console.print(Text(f"report: {report}"), soft_wrap=True)
    if found.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if found.conforms else FAILED)


def _show(found: Report, console: Console) -> None:
    console.print(_table(found))
    for first, others in _failures(found):
        more = f"\n  also on: {', '.join(others)}" if others else ""
        console.print(Text(f"\n✗ {first}{more}"), soft_wrap=True)
    for reason, names in _gaps(found).items():
        console.print(Text(f"○ {reason}: {', '.join(names)}", style="yellow"), soft_wrap=True)
    console.print(Text(f"\n{found.summary}", style="bold green" if found.conforms else "bold red"), soft_wrap=True)
    if not found.outcomes:
        console.print(Text("no check was run: nothing has been shown"))
    if found.dtype == "float32":
        console.print(Text("in single precision (2e-4 relative, 2e-2 for differences): smaller mistakes than that are not seen"))
    if found.device_kind != "cpu":
        settings = ", ".join(f"{name}={value}" for name, value in found.environment.items())
        console.print(Text(f"on {found.device_name}; matrix products in full precision: {settings}"), soft_wrap=True)


def _failures(found: Report) -> Iterator[tuple[Outcome, list[str]]]:
    """The first failure of each check, and the other scenarios on which it fails; a report has all of them in full."""
    for outcomes in found.by_check().values():
        bad = [outcome for outcome in outcomes if not outcome.conforms]
        if bad:
            yield bad[0], [outcome.scenario for outcome in bad[1:]]


def _gaps(found: Report) -> dict[str, list[str]]:
    """Names of the checks of which a gap is declared, by its reason."""
    gaps: dict[str, list[str]] = {}
    for outcome in found.outcomes:
        if outcome.status == "declared" and outcome.check not in gaps.setdefault(outcome.message, []):
            gaps[outcome.message].append(outcome.check)
    return gaps


def _check_writable(report: Path | None) -> None:
    """Say before the run, not after it, that its report cannot be written."""
    if report is None:
        return
    from curvature_conformance.reports.report import check_suffix

    check_suffix(report)
    if not report.parent.is_dir():
        raise ValueError(f"the folder of the report does not exist: {report.parent}")
    existed = report.exists()
    with report.open("a", encoding="utf-8"):
        pass
    if not existed:
        report.unlink()


def _perform(
    subject: Subject, work: Work | None, trials: list[Trial], processes: int | None, console: Console, selection: Selection
) -> Report:
    from curvature_conformance import perform, perform_in_processes
    from curvature_conformance.reports.provenance import device_kind
    from curvature_conformance.running.processes import WorkerError, cores

    if processes is None:
        processes = cores() if device_kind(str(subject.setting.device)) == "cpu" else 1
    if work is None or _by_hand(subject):
        processes, work = 1, None  # a worker process could not find it
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(subject.name, total=len(trials))

        def advance(outcome: Any) -> None:
            progress.update(task, advance=1, description=f"{subject.name}: {outcome.check}")

        if work is None or processes == 1:
            return perform(subject, trials, advance, selection=selection)
        try:
            return perform_in_processes(work, subject, trials, processes, advance)
        except WorkerError as error:
            console.print(Text(f"curvature conform: {error}", style="red"), soft_wrap=True)
            raise typer.Exit(FAILED) from None


def _by_hand(subject: Subject) -> bool:
    """Whether the backend or the approximation was registered in this process only."""
    known = [plugin for plugin in plugins() if plugin.distribution == BY_HAND]
    names = {name for plugin in known for name in plugin.provides}
    return bool(names & {subject.name, subject.setting.backend.name})


def _table(report: Report) -> Table:
    """Checks by scenarios in order; the names of the scenarios that are not."""
    table = Table(title=f"Conformance of {report.kind} {report.subject}", title_justify="left")
    for column in ("check", "in order", "failed on"):
        table.add_column(column, overflow="fold")
    for check, outcomes in report.by_check().items():
        bad = [outcome.scenario or "itself" for outcome in outcomes if not outcome.conforms]
        count = f"{len(outcomes) - len(bad)} of {len(outcomes)}"
        shown = bad if len(bad) <= 3 else [*bad[:2], f"and {len(bad) - 2} more"]
        table.add_row(Text(check), Text(count, style="red" if bad else "green"), Text(", ".join(shown)))
    return table
