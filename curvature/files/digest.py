"""The SHA-256 of a whole file that contains it: computed with zeros in its place.

It finds damage, not malice: whoever can change the file can compute it anew.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import BinaryIO

PLACEHOLDER = "0" * 64
_CHUNK = 1 << 20
# Quotes within other strings of a JSON header are escaped, so nothing but the entry itself looks like this.
_ENTRY = re.compile(rb'"sha256":"([0-9a-f]{64})"')


def seal(path: Path) -> None:
    """Put the digest where the placeholder stands in the header."""
    with path.open("r+b") as file:
        prefix, header = read_header(file)
        start, _ = _span(header)
        digest = _digest(prefix, header, file)
        file.seek(len(prefix) + start)
        file.write(digest.encode("ascii"))


def is_intact(file: BinaryIO, prefix: bytes, header: bytes) -> bool:
    """Whether the file, read up to the end of its header, has the digest that it states."""
    start, stop = _span(header)
    return stop > start and _digest(prefix, header, file) == header[start:stop].decode("ascii")


def read_header(file: BinaryIO) -> tuple[bytes, bytes]:
    """(the first 8 bytes, the header whose length they state); both shorter than stated where the file ends."""
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    position = file.tell()
    available = file.seek(0, 2) - position
    file.seek(position)
    return prefix, file.read(min(length, available))


def _span(header: bytes) -> tuple[int, int]:
    """Where the digits stand; (0, 0) if nowhere or in several places."""
    found = list(_ENTRY.finditer(header))
    return found[0].span(1) if len(found) == 1 else (0, 0)


def _digest(prefix: bytes, header: bytes, rest: BinaryIO) -> str:
    start, stop = _span(header)
    sha = hashlib.sha256(prefix)
    sha.update(header[:start] + PLACEHOLDER.encode("ascii")[: stop - start] + header[stop:])
    while chunk := rest.read(_CHUNK):
        sha.update(chunk)
    return sha.hexdigest()
