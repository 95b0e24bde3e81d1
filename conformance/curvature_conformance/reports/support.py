"""The support table: what each backend claims, and where the suite has shown it.

``python -m curvature_conformance.reports.support conformance/reports > docs/support.md`` writes the page anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import curvature as cv
from curvature.backend import CAPABILITIES
from curvature.registry import catalogue

from .format import defects

_MEANING = {
    "arrays": "arrays, linear algebra, random numbers",
    "vjp": "Jᵀu, gradients",
    "jvp": "Jv",
    "linearize": "J and Jᵀ, again and again without another forward pass",
    "hvp": "∇²f v, and derivatives of it",
    "vmap": "a function mapped over an axis",
    "jit": "a function compiled",
    "parameter_uses": "how parameters enter a model",
    "float64": "double precision",
}

_HEAD = """# Support

What the backends of this distribution claim, and on which devices the conformance suite has shown it. A claim is checked both
ways: what is claimed must pass, what is not claimed must raise `UnsupportedError`, and a claim that is out of date fails.
*Native*: by the array library itself. *Derived*: by the core, from the Array API.

This page is written by `python -m curvature_conformance.reports.support conformance/reports > docs/support.md`, from the
claims of the registered backends and from the reports in [conformance/reports](../conformance/reports/README.md)."""


def claims(distribution: str = "curvature") -> dict[str, Mapping[str, cv.Claim]]:
    """The claims of the backends that a distribution registers, by name. No framework is imported for them."""
    known = catalogue.backends()
    entries = [known.find(name) for name in known.names if known.claims(name)[0].plugin.distribution == distribution]
    return {entry.spec.name: entry.spec.capabilities for entry in entries}


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The reports of a folder by the name of their file, sorted.

    Raises:
        ValueError: one is not as ``report_format`` says; names the file and all that is wrong.
    """
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    for name, record in found.items():
        if wrong := defects(record):
            raise ValueError(f"{name}.json is no report as it should be kept: {'; '.join(wrong)}")
    return found


def page(claimed: Mapping[str, Mapping[str, cv.Claim]], reports: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page in Markdown."""
    return "\n\n".join([_HEAD, "## Claims", _claims(claimed), "## Where they were checked", _reports(claimed, reports)]) + "\n"


def _claims(claimed: Mapping[str, Mapping[str, cv.Claim]]) -> str:
    notes: list[str] = []
    rows = []
    for capability in CAPABILITIES:
        cells = [_cell(claims.get(capability), notes) for claims in claimed.values()]
        rows.append((f"`{capability}`", _MEANING.get(capability, ""), *cells))
    table = _table(("capability", "meaning", *claimed), rows)
    return "\n".join([table, "", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]).rstrip()


def _cell(claim: cv.Claim | None, notes: list[str]) -> str:
    if claim is None:
        return "no claim"
    if not claim.reason:
        return claim.support.value
    if claim.reason not in notes:
        notes.append(claim.reason)
    return f"{claim.support.value} ({notes.index(claim.reason) + 1})"


def _reports(claimed: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]]) -> str:
    head = ("report", "device", "dtype", "in order", "declared gaps", "failed", "versions", "date", "commit")
    table = _table(head, [_row(name, record) for name, record in reports.items()])
    failed = [
        f"{_link(name)}: {len(record['failing'])} failed: {', '.join(f'`{check}`' for check in record['failing'])}."
        for name, record in reports.items()
        if record["failing"]
    ]
    shown = {record["subject"] for record in reports.values() if record["kind"] == "backend"}
    silent = [
        f"There is no report of `{name}`: its claims have not been checked on a device." for name in claimed if name not in shown
    ]
    return "\n\n".join([table, *failed, *silent])


def _row(name: str, record: Mapping[str, Any]) -> tuple[str, ...]:
    counts, total = record["counts"], sum(record["counts"].values())
    return (
        _link(name),
        record["device_name"],
        record["dtype"],
        f"{counts['passed'] + counts['declared']} of {total}",
        str(counts["declared"]),
        str(len(record["failing"])),
        ", ".join(f"{library} {version}" for library, version in record["versions"].items()),
        record["date"][:10],
        record["commit"][:10] + ("-dirty" if record["commit"].endswith("-dirty") else ""),
    )


def _link(name: str) -> str:
    return f"[{name}](../conformance/reports/{name}.json)"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def main() -> None:
    """Write the page to standard output."""
    parser = argparse.ArgumentParser(prog="python -m curvature_conformance.reports.support", description=__doc__)
    parser.add_argument("reports", type=Path, help="folder with the reports")
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(page(claims(), read(parser.parse_args().reports)))


if __name__ == "__main__":
    main()
