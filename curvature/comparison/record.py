"""A comparison as JSON, checked when it is written and when it is read."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from ..backend import Backend
from ..errors import DataError, FileFormatError, MissingFileError
from ..files.atomic import replacing
from .number import Number
from .result import Comparison, Row

FORMAT = 1
KIND = "curvature comparison"

_TYPES: dict[str, tuple[type, ...]] = {
    "matrix": (str,),
    "parameters": (int,),
    "damping": (int, float),
    "damping_rule": (str,),
    "exact": (bool,),
    "residual": (int, float),
    "interrupted": (bool,),
    "gradient_seconds": (int, float, type(None)),
    "settings": (dict,),
    "versions": (dict,),
    "rows": (list,),
    "effective_dimension": (dict,),
}
_NUMBERS = ("error", "cosine", "step_error", "kl", "effective_dimension")
_CELLS: dict[str, tuple[type, ...]] = {
    "label": (str,),
    "method": (str,),
    "refused": (str,),
    "bytes": (int, type(None)),
    **dict.fromkeys(("seconds", "gradients", "first_solve", "solve"), (int, float, type(None))),
    **dict.fromkeys(_NUMBERS, (dict,)),
}
_PARTS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("value", "low", "high"), (int, float, type(None))),
    "reason": (str,),
}


def versions(backend: Backend) -> dict[str, str]:
    """Version of Python, of this library and of what had a part in the numbers; and the machine."""
    found = {"python": platform.python_version()}
    for package in sorted({"curvature", "numpy", backend.name}):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    where = "default" if backend.device is None else str(backend.device)
    return found | {"backend": backend.name, "device": where, "machine": f"{platform.system()} {platform.machine()}"}


def dumps(comparison: Comparison) -> str:
    """JSON of a comparison."""
    record = {"format": FORMAT, "kind": KIND} | asdict(comparison)
    record["rows"] = [asdict(row) for row in comparison.rows]
    check(record, "the comparison")
    return json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def save(comparison: Comparison, path: Path) -> None:
    """Write a comparison, as the ending of the name says."""
    if path.suffix not in (".json", ".md"):
        raise DataError(f"a comparison is written as .json or .md, got {path.name!r}")
    written = comparison.to_json() if path.suffix == ".json" else comparison.table() + "\n"
    with replacing(path) as temporary:
        temporary.write_text(written, encoding="utf-8")


def load(path: Path) -> Comparison:
    """Read a comparison."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError(f"there is no file {path}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is no JSON: {error}") from None
    check(record, str(path))
    given = {name: record[name] for name in _TYPES if name not in ("rows", "effective_dimension")}
    rows = tuple(_row(row) for row in record["rows"])
    return Comparison(rows=rows, effective_dimension=Number(**record["effective_dimension"]), **given)


def _row(record: dict[str, Any]) -> Row:
    cells: dict[str, Any] = {name: Number(**value) if name in _NUMBERS else value for name, value in record.items()}
    return Row(**cells)


def check(record: Any, what: str) -> None:
    """Refuse what is no record of a comparison.

    Raises:
        FileFormatError: naming the field.
    """
    if not isinstance(record, dict) or record.get("kind") != KIND:
        raise FileFormatError(f"{what} is no comparison of curvature")
    if record.get("format") != FORMAT:
        raise FileFormatError(f"{what} has format {record.get('format')!r}, this version of curvature reads {FORMAT}")
    _check_fields({name: value for name, value in record.items() if name not in ("kind", "format")}, _TYPES, what)
    _check_fields(record["effective_dimension"], _PARTS, f"{what}, effective_dimension")
    for position, row in enumerate(record["rows"]):
        where = f"{what}, row {position}"
        _check_fields(row, _CELLS, where)
        for name in _NUMBERS:
            _check_fields(row[name], _PARTS, f"{where}, {name}")


def _check_fields(found: Any, types: dict[str, tuple[type, ...]], where: str) -> None:
    if not isinstance(found, dict) or set(found) != set(types):
        wrong = sorted(set(found) ^ set(types)) if isinstance(found, dict) else [type(found).__name__]
        raise FileFormatError(f"{where}: missing or unknown: {', '.join(wrong)}")
    for name, value in found.items():
        allowed = types[name]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise FileFormatError(f"{where}: {name} is {value!r}")
