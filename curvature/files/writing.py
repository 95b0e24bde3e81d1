"""``save``."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from ..errors import ContainerWarning
from .container import write
from .encoding import Encoder


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Write an operator, or a tree of arrays, to a neutral file that ``load`` reads on any backend.

    What can be saved: operators that hold arrays (of any nesting, with the parameters that they stand for); parameters and
    statistics, that is trees (dict, OrderedDict, list, tuple, namedtuple) of arrays of any backend, numbers, strings,
    None and operators. Arrays are real or boolean; they come back to the last bit.

    The file is written beside ``path`` and then put in its place, so that an interruption leaves what was there. Its
    layout is that of safetensors: see ``curvature.files``.

    Args:
        obj: what to save.
        path: the file; any suffix, ``.safetensors`` by custom.

    Raises:
        UnsupportedError: naming what cannot be saved (a curvature matrix or another matrix-free operator, an object that
            is no array), and what to save instead.
        PrecisionError: an array's dtype is not known to all libraries (complex, float8, longdouble).
        OSError: the file cannot be written.

    Warns:
        ContainerWarning: a container of another class is written as an ordered dictionary.
    """
    encoder = Encoder()
    structure = encoder.value(obj)
    write(Path(path), structure, encoder.arrays)
    for note in encoder.notes:
        warnings.warn(note, ContainerWarning, stacklevel=2)
