"""The record of a benchmark: one JSON file, written after every run."""

from __future__ import annotations

import json
import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .contenders import Contender

FORMAT = 1
Record = dict[str, Any]


def new(problem: type, *, budget: float, threads: int, device: str) -> Record:
    """A record without runs, of a problem's class."""
    return {
        "format": FORMAT,
        "problem": problem.name,
        "summary": problem.summary,
        "measured": problem.measured,
        "targets": list(problem.targets),
        "budget": budget,
        "threads": threads,
        "device": device,
        "platform": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "contenders": {},
    }


def load(path: Path, like: Record) -> Record:
    """What is there already, to be merged with.

    Raises:
        SystemExit: if it cannot be compared with ``like``.
    """
    if not path.exists():
        return like
    found = json.loads(path.read_text(encoding="utf-8"))
    for name in ("format", "problem", "targets", "budget", "threads", "device"):
        if found.get(name) != like[name]:
            raise SystemExit(f"{path}: {name} is {found.get(name)!r} there and {like[name]!r} here; runs cannot be merged")
    return found


def entry(record: Record, contender: Contender) -> Record:
    """What the record has of a contender, made where there is nothing yet."""
    found = record["contenders"].setdefault(contender.name, {"settings": None, "grid": [], "versions": {}, "runs": []})
    found["versions"] = {"python": platform.python_version()} | {name: _version(name) for name in ("numpy", *contender.libraries)}
    return found


def add(found: Record, run: Record) -> None:
    """Put a run in, in place of an earlier one of the same seed."""
    found["runs"] = sorted([*(old for old in found["runs"] if old["seed"] != run["seed"]), run], key=lambda run: run["seed"])


def save(path: Path, record: Record) -> None:
    """Write it, all at once; lists of numbers take one line."""
    text = json.dumps(record, indent=1, allow_nan=False)
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: " ".join(found.group().split()), text)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"
