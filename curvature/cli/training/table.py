"""The table at the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from .run import Run, common_loss


def results(title: str, runs: Sequence[Run]) -> Group:
    """The table of all runs, and below it what the optimisers were set to."""
    target = common_loss(runs)
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 0, 0, 1),
        pad_edge=False,
    )
    table.add_column("optimiser", no_wrap=True)
    headings = ["mini-\nbatch", "training\nloss", "test\naccuracy", "steps", "seconds"]
    if target is not None:
        headings += [f"steps to\n{target:.1e}", f"sec. to\n{target:.1e}"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    for run in runs:
        table.add_row(*_cells(run, target))
    return Group(table, *_notes(runs))


def _cells(run: Run, target: float | None) -> list[str]:
    record, size = run.record, run.contender.batch_size
    final = record.final
    cells = [
        run.contender.short,
        "all" if size is None else str(size),
        f"{final.loss:.2e}",
        f"{final.test['accuracy']:.1%}",
        str(record.steps),
        f"{record.seconds:.2f}",
    ]
    if target is not None:
        reached = record.reached(target)
        cells += ["-", "-"] if reached is None else [str(reached.step), f"{reached.seconds:.2f}"]
    return cells


def _notes(runs: Sequence[Run]) -> list[Text]:
    notes = []
    for run in runs:
        notes.append(Text.assemble(f"{run.contender.short}: ", (run.contender.note, "dim")))
        if run.outcome:
            notes.append(Text(f"  ended early: {run.outcome}", style="yellow"))
    return notes
