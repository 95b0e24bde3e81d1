"""The table at the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from .run import Run, common_loss


def results(title: str, runs: Sequence[Run]) -> Group:
    """The table of all runs, and below it what the optimisers were set to."""
    target = common_loss(runs)
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("optimiser")
    for heading in ("minibatch", "training loss", "test accuracy", "steps", "seconds"):
        table.add_column(heading, justify="right")
    if target is not None:
        table.add_column(f"to loss {target:.1e}", justify="right")
    for run in runs:
        table.add_row(*_cells(run, target))
    return Group(table, *_notes(runs))


def _cells(run: Run, target: float | None) -> list[str]:
    record, size = run.record, run.contender.batch_size
    final = record.final
    cells = [
        run.contender.label,
        "all" if size is None else str(size),
        f"{final.loss:.2e}",
        f"{final.test['accuracy']:.1%}",
        str(record.steps),
        f"{record.seconds:.2f}",
    ]
    if target is not None:
        reached = record.reached(target)
        cells.append("-" if reached is None else f"{reached.step} steps, {reached.seconds:.2f} s")
    return cells


def _notes(runs: Sequence[Run]) -> list[Text]:
    notes = []
    for run in runs:
        notes.append(Text.assemble(f"{run.contender.label}: ", (run.contender.note, "dim")))
        if run.outcome:
            notes.append(Text(f"  ended early: {run.outcome}", style="yellow"))
    return notes
