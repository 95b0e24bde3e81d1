"""``curvature agree``: compute the same on several backends and compare them with one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import BackendUnavailableError, CurvatureError
from .conform import FAILED, NOT_RUN, USAGE, Dtype

if TYPE_CHECKING:
    from curvature_conformance.agreement import Comparison


def agree(
    backends: Annotated[list[str], typer.Argument(help="Two or more backends, such as: numpy torch jax.")],
    device: Annotated[str | None, typer.Option(help="Device of all of them, such as cuda.")] = None,
    dtype: Annotated[Dtype, typer.Option(help="Precision in which they are compared.")] = Dtype.float64,
    scenarios: Annotated[str, typer.Option(help="Only the scenarios whose names fit this pattern.")] = "*",
) -> None:
    """Do these backends say the same of the same models, to 1e-9 in float64 and 2e-4 in float32?

    Exit codes: 0 they agree; 1 they do not; 2 bad usage; 3 not run, because a backend cannot be used here.
    """
    from curvature_conformance.agreement import TOLERANCES, compare

    console, errors = Console(), Console(stderr=True)
    try:
        with errors.status("") as status:
            found = compare(
                backends, dtype=dtype.value, device=device, only_scenarios=scenarios, progress=lambda name: status.update(name)
            )
    except BackendUnavailableError as error:
        errors.print(Text(f"not run: {error}", style="yellow"))
        raise typer.Exit(NOT_RUN) from None
    except (CurvatureError, LookupError, ValueError) as error:
        errors.print(Text(f"curvature agree: {error}", style="red"))
        raise typer.Exit(USAGE) from None
    console.print(_table(found))
    bad = [comparison for comparison in found if not comparison.agrees]
    for comparison in bad:
        console.print(Text(f"✗ {comparison}", style="red"), soft_wrap=True)
    verdict = f"{', '.join(backends)}: {len(found) - len(bad)} of {len(found)} quantities agree to {TOLERANCES[dtype.value]:g}"
    console.print(Text(verdict, style="bold red" if bad else "bold green"), soft_wrap=True)
    raise typer.Exit(FAILED if bad else 0)


def _table(found: list[Comparison]) -> Table:
    """The largest deviation in each scenario."""
    table = Table(title="Agreement", title_justify="left")
    for column in ("scenario", "largest deviation", "in", "between"):
        table.add_column(column, overflow="fold")
    for scenario in dict.fromkeys(comparison.scenario for comparison in found):
        worst = max((c for c in found if c.scenario == scenario), key=lambda c: (not c.agrees, c.deviation))
        style = "green" if worst.agrees else "red"
        table.add_row(scenario, Text(f"{worst.deviation:.1e}", style=style), worst.quantity, " and ".join(worst.pair))
    return table
