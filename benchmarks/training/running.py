"""Starts workers and shows how far they are."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Show = Callable[[str], None]
ROOT = Path(__file__).parent.parent


def run(order: dict[str, Any], show: Show, label: str) -> dict[str, Any]:
    """What a worker found; a worker that died is recorded as failed."""
    command = [sys.executable, "-W", "ignore", "-m", f"{__package__}.worker", json.dumps(order)]
    record = None
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            # One that hangs, in a step much longer than the budget, is ended.
            watchdog = threading.Timer(10 * order["budget"] + 600, process.kill)
            watchdog.start()
            try:
                for line in process.stdout:
                    said = json.loads(line) if line.startswith("{") else {}
                    record = said.get("record", record)
                    if "value" in said:
                        show(f"{label}: {said['seconds']:.1f} s, step {said['step']}, {said['value']:.3g}")
            except BaseException:
                process.kill()
                raise
            finally:
                watchdog.cancel()
        errors.seek(0)
        tail = errors.read()[-2000:]
    if record is None:
        last = (tail.strip().splitlines() or ["no output"])[-1]
        why = f"ended with {process.returncode}: {last}"
        record = {"steps": 0, "seconds": 0.0, "preparation": 0.0, "stopped": why, "reached": {}, "columns": {}, "failed": why}
    if record.get("failed"):
        print(f"\n{label} failed:\n{tail}", file=sys.stderr)
    return record


@contextlib.contextmanager
def progress() -> Iterator[Show]:
    """Shows a line that changes: with rich where it is installed."""
    try:
        from rich.console import Console
    except ImportError:
        yield lambda line: print(f"\r{line:100.100}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        return
    console = Console(stderr=True)
    with console.status("") as status:
        yield status.update
