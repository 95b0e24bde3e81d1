"""The commands, each in a module of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from .agree import agree
from .compare import compare
from .conform import conform
from .list import list_plugins
from .new import new
from .train import train

app = typer.Typer(
    name="curvature",
    help="Fisher information, Hessian, Gauss-Newton and their approximations, on every array library.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command("list")(list_plugins)
app.command("train")(train)
app.command("conform")(conform)
app.command("agree")(agree)
app.command("compare")(compare)
app.add_typer(new, name="new")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"curvature {version('curvature')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    # A callback also keeps `list` a subcommand while it is the only one.
    pass
