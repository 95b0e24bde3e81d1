"""``curvature list``: what is registered, how it stands here, and where it came from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..registry import (
    ApproximationInfo,
    BackendInfo,
    PluginInfo,
    approximations,
    backends,
    plugins,
)

_COLOURS = {
    "usable": "green",
    "loaded": "green",
    "not installed": "yellow",
    "not usable": "yellow",
    "disabled": "yellow",
}


def list_plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """List backends with their status and reason, approximations with their options, and failed plugins."""
    found, methods = backends(), approximations()
    absent = [plugin for plugin in plugins() if plugin.status != "loaded"]
    if as_json:
        record = {
            "backends": [asdict(info) for info in found],
            "approximations": [asdict(info) for info in methods],
            "plugins_left_out": [asdict(info) for info in absent],
        }
        typer.echo(json.dumps(record, default=repr, indent=2))
        return
    console = Console()
    console.print(_backends(found))
    console.print(_approximations(methods))
    if absent:
        console.print(_plugins(absent))


def _backends(infos: list[BackendInfo]) -> Table:
    table = _table("Backends", "name", "status", "version", "devices", "distribution", "reason")
    for info in infos:
        devices = ", ".join(info.devices)
        _row(table, info.name, _status(info.status), info.version, devices, info.distribution, info.reason)
    return table


def _approximations(infos: list[ApproximationInfo]) -> Table:
    table = _table("Approximations", "name", "status", "options", "distribution", "summary or reason")
    for info in infos:
        options = ", ".join(f"{name}={default!r}" for name, default in info.options.items())
        _row(table, info.name, _status(info.status), options, info.distribution, info.reason or info.summary)
    return table


def _plugins(infos: list[PluginInfo]) -> Table:
    table = _table("Plugins left out", "name", "status", "distribution", "reason")
    for info in infos:
        _row(table, info.name, _status(info.status), f"{info.distribution} {info.version}", info.reason)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _row(table: Table, *cells: str | Text) -> None:
    table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))  # brackets are no markup


def _status(status: str) -> Text:
    return Text(status, style=_COLOURS.get(status, "red"))
