"""Where the results go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .problems import BadInput


class Output:
    """A folder with ``<name>.json`` and ``<name>.png``, proven to be writable before anything is trained.

    Raises:
        BadInput: if the folder cannot be made or one of the files cannot be written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.record = folder / f"{name}.json"
        self.picture = folder / f"{name}.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in (self.record, self.picture):
                _prove_writable(path)
        except OSError as error:
            raise BadInput(
                f"cannot write to {error.filename or folder}: {error.strerror}; name another folder with --out"
            ) from error

    def write(self, record: dict[str, Any]) -> None:
        """Write the record. NaN, which JSON lacks, is refused: it is for the caller to say what is meant."""
        self.record.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _prove_writable(path: Path) -> None:
    # Permissions do not tell (read-only file systems, quotas, other users' files): opening the file does. Appending nothing
    # leaves the results of an earlier run as they are.
    existed = path.exists()
    with path.open("ab"):
        pass
    if not existed:
        path.unlink()
