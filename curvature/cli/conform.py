"""``curvature conform``: run the conformance suite on a backend or an approximation."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from curvature_conformance import Report, Subject, Trial

FAILED, USAGE, NOT_RUN, INTERRUPTED = 1, 2, 3, 130


class Dtype(StrEnum):
    """Dtypes for which the suite knows tolerances."""

    float64 = "float64"
    float32 = "float32"


def conform(
    name: Annotated[str, typer.Argument(help="A backend or an approximation; `curvature list` shows them.")],
    backend: Annotated[str | None, typer.Option(help="Backend on which an approximation is tested (numpy).")] = None,
    device: Annotated[str | None, typer.Option(help="Device of the backend, such as cuda.")] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="By default float64 where the backend has it.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a report here: .json or .md.")] = None,
    commit: Annotated[str | None, typer.Option(help="Commit for the report, where there is no repository to ask.")] = None,
) -> None:
    """Check that a backend or an approximation means what the library means.

    Exit codes: 0 it conforms; 1 it does not (or no check was run); 2 bad usage, such as an unknown name; 3 not run,
    because the backend cannot be used here; 130 interrupted.
    """
    from curvature_conformance import UnknownSubjectError, plan, provenance, subject_of
    from curvature_conformance.report_format import names_a_commit

    console, errors = Console(), Console(stderr=True)
    provenance.ask_for_full_precision()
    try:
        _check_writable(report)
        if commit is not None and not names_a_commit(commit):
            raise ValueError(f"--commit takes all 40 hexadecimal digits, as `git rev-parse HEAD` prints them; got {commit!r}")
        subject = subject_of(name, backend=backend, device=device, dtype=None if dtype is None else dtype.value)
        trials = plan(subject)
    except BackendUnavailableError as error:
        errors.print(Text(f"not run: {error}", style="yellow"))
        raise typer.Exit(NOT_RUN) from None
    except (CurvatureError, UnknownSubjectError, OSError, ValueError, TypeError) as error:
        errors.print(Text(f"curvature conform: {error}", style="red"))
        raise typer.Exit(USAGE) from None
    found = _perform(subject, trials, errors)
    console.print(_table(found))
    for outcome in found.failures:
        console.print(Text(f"\n✗ {outcome}"), soft_wrap=True)
    for outcome in found.outcomes:
        if outcome.status == "declared":
            console.print(Text(f"○ {outcome}", style="yellow"), soft_wrap=True)
    console.print(Text(f"\n{found.summary}", style="bold green" if found.conforms else "bold red"), soft_wrap=True)
    if not found.outcomes:
        console.print(Text("no check was run: nothing has been shown"))
    if found.device_kind != "cpu":
        settings = ", ".join(f"{name}={value}" for name, value in found.precision.items())
        console.print(Text(f"on {found.device_name}; matrix products in full precision: {settings}"), soft_wrap=True)
    if report is not None:
        (found if commit is None else replace(found, commit=commit)).write(report)
        console.print(Text(f"report: {report}"), soft_wrap=True)
    if found.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if found.conforms else FAILED)


def _check_writable(report: Path | None) -> None:
    """Say before the run, not after it, that its report cannot be written."""
    if report is None:
        return
    from curvature_conformance.report import check_suffix

    check_suffix(report)
    if not report.parent.is_dir():
        raise ValueError(f"the folder of the report does not exist: {report.parent}")
    existed = report.exists()
    with report.open("a", encoding="utf-8"):
        pass
    if not existed:
        report.unlink()


def _perform(subject: Subject, trials: list[Trial], console: Console) -> Report:
    from curvature_conformance import perform

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(subject.name, total=len(trials))

        def advance(outcome: Any) -> None:
            progress.update(task, advance=1, description=f"{subject.name}: {outcome.check}")

        return perform(subject, trials, advance)


def _table(report: Report) -> Table:
    """Checks by scenarios in order; the names of the scenarios that are not."""
    table = Table(title=f"Conformance of {report.kind} {report.subject}", title_justify="left")
    for column in ("check", "in order", "failed on"):
        table.add_column(column, overflow="fold")
    for check, outcomes in report.by_check().items():
        bad = [outcome.scenario or "itself" for outcome in outcomes if not outcome.conforms]
        count = f"{len(outcomes) - len(bad)} of {len(outcomes)}"
        table.add_row(Text(check), Text(count, style="red" if bad else "green"), Text(", ".join(bad)))
    return table
