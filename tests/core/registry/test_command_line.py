"""``curvature list``, and the command without what it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CALL = "from curvature.cli import main; main()"


def _run(*arguments: str, path: Path | None = None, before: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(path or "")}
    code = f"import sys; sys.argv = ['curvature', *{list(arguments)}]; {before}{CALL}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_list_shows_backends_and_approximations() -> None:
    done = _run("list")
    assert done.returncode == 0, done.stderr
    for word in ("numpy", "torch", "usable", "kfac", "diagonal", "exact", "curvature"):
        assert word in done.stdout
    assert "Plugins left out" not in done.stdout


def test_list_as_json() -> None:
    record = json.loads(_run("list", "--json").stdout)
    assert {"numpy", "torch"} <= {info["name"] for info in record["backends"]}
    assert {"status", "reason", "version", "devices", "distribution"} <= set(record["backends"][0])
    assert {"kfac"} <= {info["name"] for info in record["approximations"]}
    assert {"options", "summary", "distribution"} <= set(record["approximations"][0])


def test_list_survives_a_broken_plugin_and_shows_it(install: Callable) -> None:
    site = install("broken-dist", {"broken": "broken_plugin"}, {"broken_plugin": "raise RuntimeError('[bold]no[/]')"})
    done = _run("list", path=site)
    assert done.returncode == 0, done.stderr
    assert "Plugins left out" in done.stdout
    assert "RuntimeError: [bold]no[/]" in done.stdout
    assert "PluginWarning" in done.stderr


def test_without_rich_and_typer_it_names_the_command() -> None:
    done = _run("list", before="sys.modules['typer'] = None; ")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "needs typer, which is not installed; run: pip install 'curvature[demo]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_version() -> None:
    assert _run("--version").stdout.startswith("curvature 0.")


def test_unknown_command_fails() -> None:
    assert _run("lisst").returncode == 2
