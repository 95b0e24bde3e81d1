"""A project from templates: the files of a folder with their placeholders filled in, written whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

SUFFIX = ".template"
"""Of every template: most are no valid Python or TOML before they are filled in."""


def rendered(kind: str, values: Mapping[str, str]) -> dict[str, str]:
    """Path → text of the files of a project of that kind. The parts ``module`` and ``gitignore`` of a path stand for names that
    a package cannot hold.
    """
    found = {}
    for path, template in _templates(files(__package__) / "templates" / kind):
        path = path.replace("test_module", f"test_{values['module']}").replace("/module/", f"/{values['module']}/")
        found[".gitignore" if path == "gitignore" else path] = Template(template).substitute(values)
    return found


def _templates(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    """(path without its suffix, text), in the order of the paths."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _templates(entry, f"{above}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            yield f"{above}{entry.name.removesuffix(SUFFIX)}", entry.read_text(encoding="utf-8")


def write(target: Path, contents: Mapping[str, str]) -> None:
    """Write files into ``target``, which is absent or an empty folder: first beside it, then renamed, so that nothing is left
    of what fails.

    Raises:
        OSError: it cannot be written.
    """
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        project = beside / target.name  # the temporary folder itself is readable by nobody else
        for path, text in contents.items():
            file = project / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        if target.exists():
            target.rmdir()  # where a folder is not replaced by a renamed one; one that is not empty stays
        project.rename(target)
    finally:
        shutil.rmtree(beside)
