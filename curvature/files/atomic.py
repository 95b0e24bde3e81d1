"""A file that is replaced whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path``, which takes its place once the body has ended without an error.

    Until then, and after any interruption, ``path`` is what it was. A link is followed, permissions are kept; those of a
    new file are the usual ones.
    """
    target = path.resolve()
    temporary = target.with_name(f".curvature-{secrets.token_hex(8)}.tmp")
    try:
        temporary.touch(exist_ok=False)
        model = target if target.exists() else temporary
        mode = stat.S_IMODE(model.stat().st_mode)  # the body may put a file of its own in the place of this one
        yield temporary
        temporary.chmod(mode)
        _to_disk(temporary, os.O_RDWR)
        temporary.replace(target)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            _to_disk(target.parent, os.O_RDONLY)
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path, flags: int) -> None:
    """Wait until what was written is on the disk: a rename may otherwise get there before the contents."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
