"""What the JSON form of a report must hold: without versions, device and date a result says little."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, get_args

from ..running.selection import WHOLE
from ..running.trial import Status
from ..setting import TOLERANCES
from .provenance import device_kind

FORMAT = 2
"""Version of the form."""

_TYPES: dict[str, type] = {
    "format": int,
    "conforms": bool,
    "interrupted": bool,
    "summary": str,
    "kind": str,
    "subject": str,
    "backend": str,
    "framework": str,
    "device": str,
    "device_name": str,
    "dtype": str,
    "date": str,
    "commit": str,
    "versions": dict,
    "environment": dict,
    "platform": str,
    "selection": dict,
    "elapsed": float,
    "counts": dict,
    "failing": list,
    "outcomes": list,
}
_OUTCOME = ("check", "scenario", "status", "message", "seconds")
_MAY_BE_EMPTY = ("environment", "failing")


def names_a_commit(text: str) -> bool:
    """Whether it is the whole name of a commit, perhaps of one with other files."""
    return re.fullmatch(r"[0-9a-f]{40}(-dirty)?", text) is not None


def defects(record: Mapping[str, Any]) -> list[str]:
    """What is wrong with a report as it is kept in a file; empty if nothing is."""
    shape = list(_shape(record))
    return shape or [*_values(record), *_contradictions(record)]


def file_stem(record: Mapping[str, Any]) -> str:
    """The name under which a report is kept: "torch-cuda", "kfac-torch-cuda", "numpy-cpu-float32"."""
    parts = [record["subject"]] if record["kind"] == "backend" else [record["subject"], record["backend"]]
    parts.append(device_kind(record["device"]))
    if record["dtype"] != "float64":
        parts.append(record["dtype"])
    return "-".join(parts)


def _shape(record: Mapping[str, Any]) -> Iterator[str]:
    for key, kind in _TYPES.items():
        if key not in record:
            yield f"{key!r} is missing"
        elif type(record[key]) is not kind:
            yield f"{key!r} is {record[key]!r}, not of type {kind.__name__}"
        elif kind in (str, dict, list) and not record[key] and key not in _MAY_BE_EMPTY:
            yield f"{key!r} is empty"
    for unknown in sorted(set(record) - set(_TYPES)):
        yield f"{unknown!r} is no key of a report"
    outcomes = record.get("outcomes")
    for outcome in outcomes if isinstance(outcomes, list) else ():
        if not isinstance(outcome, dict) or tuple(outcome) != _OUTCOME:
            yield f"an outcome must have the keys {', '.join(_OUTCOME)}: {outcome!r}"


def _values(record: Mapping[str, Any]) -> Iterator[str]:
    if record["format"] != FORMAT:
        yield f"'format' is {record['format']}, this is {FORMAT}"
    if record["dtype"] not in TOLERANCES:
        yield f"'dtype' is {record['dtype']!r}"
    if record["kind"] not in ("backend", "approximation", "likelihood", "operator", "problem"):
        yield f"'kind' is {record['kind']!r}"
    if record["selection"] != WHOLE.to_dict():
        yield f"'selection' is {record['selection']}: a report that is kept is of the whole suite, at its own tolerances"
    if not names_a_commit(record["commit"]):
        yield f"'commit' is {record['commit']!r}, not the 40 hexadecimal digits of a commit"
    if not _is_instant(record["date"]):
        yield f"'date' is {record['date']!r}, not an ISO 8601 instant with its offset from UTC"
    for name in ("python", "curvature", "numpy", "array-api-compat", record["framework"]):
        if not record["versions"].get(name):
            yield f"'versions' does not name that of {name}"
    for outcome in record["outcomes"]:
        if outcome["status"] not in get_args(Status):
            yield f"{outcome['check']}: the status {outcome['status']!r}"


def _contradictions(record: Mapping[str, Any]) -> Iterator[str]:
    found = Counter(outcome["status"] for outcome in record["outcomes"])
    if record["counts"] != {status: found[status] for status in get_args(Status)}:
        yield f"'counts' is {record['counts']}, the outcomes are {dict(found)}"
    failing = [_name(outcome) for outcome in record["outcomes"] if outcome["status"] in ("failed", "stale")]
    if record["failing"] != failing:
        yield f"'failing' is {record['failing']}, the outcomes say {failing}"
    if record["conforms"] != (not failing and not record["interrupted"]):
        yield f"'conforms' is {record['conforms']}, with {len(failing)} failing and interrupted: {record['interrupted']}"


def _name(outcome: Mapping[str, Any]) -> str:
    return f"{outcome['check']}[{outcome['scenario']}]" if outcome["scenario"] else str(outcome["check"])


def _is_instant(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).utcoffset() is not None
    except ValueError:
        return False
