"""The file itself: a safetensors file with our entries in its metadata, written atomically and sealed with a digest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, MissingFileError
from . import digest
from .atomic import replacing
from .nodes import sizes

FORMAT = "curvature"
FORMAT_VERSION = 1

_DTYPES = {"BOOL": "bool", "F16": "float16", "F32": "float32", "F64": "float64"} | {
    f"{short}{bits}": f"{long}{bits}" for short, long in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
}


@dataclass(frozen=True)
class Stored:
    """What a sound file holds.

    Attributes:
        structure: the JSON of what the arrays make up.
        arrays: {name: (dtype, shape)}.
        read: reads one of them, as a NumPy array.
    """

    structure: Any
    arrays: Mapping[str, tuple[str, tuple[int, ...]]]
    read: Callable[[str], Any]


def write(path: Path, structure: Any, arrays: Mapping[str, Any]) -> None:
    """Write a file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "library_version": version("curvature"),
        "structure": json.dumps(structure, allow_nan=False),
        "sha256": digest.PLACEHOLDER,
    }
    with replacing(path) as temporary:
        try:
            save_file(dict(arrays), temporary, metadata=metadata)
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from error
        digest.seal(temporary)


@contextmanager
def opened(path: Path) -> Iterator[Stored]:
    """A file that has been found sound, to read arrays from.

    Raises:
        MissingFileError: there is none.
        FileFormatError: it is no file of ours, damaged or of a newer version.
    """
    from safetensors import SafetensorError, safe_open

    header = _sound_header(path)
    structure = _parsed(path, header["__metadata__"]["structure"], "the structure")
    try:
        arrays = {name: _dtype_and_shape(entry) for name, entry in header.items() if name != "__metadata__"}
        with safe_open(path, framework="numpy") as file:
            yield Stored(structure, arrays, file.get_tensor)
    except (SafetensorError, FileFormatError) as error:
        raise FileFormatError(f"{path} is damaged or was not written by curvature.save: {error}") from error


def _sound_header(path: Path) -> Any:
    """The header as JSON, once the file is known to be ours, of a version that we read, and as it was written."""
    if not path.exists():
        raise MissingFileError(f"there is no file {path}")
    if not path.is_file():
        raise FileFormatError(f"{path} is no file" + (" but a folder" if path.is_dir() else ""))
    with path.open("rb") as file:
        prefix, raw = digest.read_header(file)
        if len(prefix) < 8 or len(raw) < int.from_bytes(prefix, "little"):
            raise FileFormatError(f"{path} is no safetensors file, or is cut off in its header")
        header = _parsed(path, raw, "the header")
        metadata = header.get("__metadata__") if isinstance(header, dict) else None
        if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
            raise FileFormatError(f"{path} was not written by curvature.save; try safetensors.numpy.load_file")
        _check_version(path, metadata)
        if not digest.is_intact(file, prefix, raw):
            raise FileFormatError(f"{path} is damaged: it is not as it was written (its SHA-256 differs); write or copy it again")
        if not isinstance(metadata.get("structure"), str):
            raise FileFormatError(f"{path} does not say what its arrays make up")
    return header


def _check_version(path: Path, metadata: Any) -> None:
    stated, writer = str(metadata.get("format_version")), metadata.get("library_version")
    if not (stated.isascii() and stated.isdigit() and len(stated) < 10) or int(stated) < 1:
        raise FileFormatError(f"{path} is damaged: it states the format version {stated!r}")
    if int(stated) > FORMAT_VERSION:
        raise FileFormatError(
            f"{path} is of version {stated} of the format, written by curvature {writer}; curvature {version('curvature')} reads "
            f"version {FORMAT_VERSION}: pip install --upgrade curvature"
        )


def _parsed(path: Path, text: str | bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is no safetensors file of curvature.save, or damaged: {what} cannot be read") from error


def _dtype_and_shape(entry: Any) -> tuple[str, tuple[int, ...]]:
    code, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
    return _DTYPES.get(str(code), str(code)), sizes(shape)
