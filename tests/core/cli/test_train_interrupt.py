"""Ctrl-C: the training stops, and what was done until then is shown and written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

# Says when the chosen optimiser has taken 20 steps, and waits there for the interrupt. (A shell may have had SIGINT ignored,
# and then Python never sees it: hence the first call.)
PROGRAM = """
import pathlib, signal, sys, time
import curvature as cv
from curvature.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)
marker, optimiser, *sys.argv = sys.argv[1:]

class Watcher:
    seen = 0

    @cv.hookimpl
    def curvature_training_step(self, event):
        self.seen += event.step == 1
        if self.seen == int(optimiser) and event.step == 20:
            pathlib.Path(marker).touch()
            time.sleep(60)

cv.register(Watcher())
main()
"""


def interrupted(tmp_path: Path, optimiser: int, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run the command and interrupt it within the given optimiser's run."""
    marker, out = tmp_path / "begun", tmp_path / "out"
    command = [sys.executable, "-c", PROGRAM, str(marker), str(optimiser), "curvature", "train", "digits", "--out", str(out)]
    environment = {**os.environ, "COLUMNS": "80"}
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        give_up = time.monotonic() + 60
        while not marker.exists() and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert "curvature train: interrupted" in stderr
    assert "Traceback" not in stderr
    assert (out / "digits.png").stat().st_size > 10_000
    done = subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
    return done, json.loads((out / "digits.json").read_text())


def test_in_the_first_optimiser(tmp_path: Path) -> None:
    done, record = interrupted(tmp_path, 1, "--epochs", "1000000")
    assert "ended early: interrupted after" in done.stdout
    assert record["interrupted"] is True
    (run,) = record["runs"]
    assert run["interrupted"] is True
    assert run["result"]["steps"] == run["curve"][-1]["step"] == 20


def test_in_the_second_optimiser_the_first_is_kept(tmp_path: Path) -> None:
    done, record = interrupted(tmp_path, 2, "--epochs", "2", "--batch-size", "64", "--quiet")
    assert done.stdout == ""
    natural, momentum = record["runs"]
    assert (natural["interrupted"], natural["result"]["steps"]) == (False, 44)
    assert momentum["interrupted"] is True
    assert momentum["result"]["steps"] == 20
