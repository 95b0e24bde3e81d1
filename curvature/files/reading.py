"""``load``."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from ..backend import Backend
from ..errors import ContainerWarning, CurvatureError, FileFormatError
from ..operators.moving import destination, from_host
from .container import Stored, opened
from .decoding import Decoder, check_arrays, widened


def load(
    path: str | os.PathLike[str], backend: str | Backend | None = None, *, device: Any = None, dtype: str | None = None
) -> Any:
    """What ``save`` wrote, on any backend.

    Everything is checked before anything is built: the digest of the file, then names, shapes and dtypes of all arrays.
    Nothing in a file is run and nothing is imported for it.

    Args:
        path: the file.
        backend: name ("jax") or backend on which the arrays shall be; None is "numpy".
        device: where, for a backend given by name; None is the library's default.
        dtype: floating dtype of all floating arrays; None keeps theirs, unless ``backend`` has one of its own.

    Raises:
        MissingFileError: there is no such file.
        FileFormatError: it was not written by ``save``, is damaged, or is of a newer version.
        UnknownKindError: it holds an operator of a package that is not imported; says which.
        PrecisionError: the backend lacks a dtype of the file (float64 on JAX without x64, bfloat16 on NumPy); ``dtype``
            asks for another.
        UnknownBackendError, BackendUnavailableError: as ``curvature.backend`` does.

    Warns:
        ContainerWarning: the class of a namedtuple is not imported; one of the same name and fields stands for it.
    """
    target = destination("numpy" if backend is None else backend, device, dtype)
    with opened(Path(path)) as stored:
        dtypes = check_arrays(stored.structure, stored.arrays)
        arrays = {name: _carried(stored, name, kept, target, dtype) for name, kept in dtypes.items()}
        decoder = Decoder(arrays, target)
        value = decoder.value(stored.structure)
    for note in decoder.notes:
        warnings.warn(note, ContainerWarning, stacklevel=2)
    return value


def _carried(stored: Stored, name: str, kept: str, target: Backend, dtype: str | None) -> Any:
    values = stored.read(name)
    if values.shape != stored.arrays[name][1]:
        raise FileFormatError(f"its array {name!r} is not of the shape that its header states")
    try:
        return from_host(target, widened(values, kept), kept, dtype)
    except CurvatureError as error:
        error.add_note(f"while loading {name!r}")
        raise
