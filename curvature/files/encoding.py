"""A tree of arrays, numbers, strings, operators, parameter spaces and partitions as JSON and a set of named arrays.

An array is ``{"type": "array", "name", "dtype", "shape"}``, an operator ``{"type": "operator", "class", "module",
"written_by", "parts"}``; numbers and strings stand for themselves. bfloat16 is kept as its bits in uint16.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import CurvatureError, UnsupportedError
from ..operators import Operator, Partition
from ..operators.moving import to_host
from ..registry import backend_of
from ..trees import ParameterSpace, flatten, path_name
from . import kinds
from .containers import encode
from .packing import pack, unpack
from .spaces import encode_partition, encode_space

Node = Any


class Encoder:
    """Turns values into nodes and gathers the arrays in them.

    Attributes:
        arrays: the arrays so far, contiguous, on the host, by name.
        notes: what could not be kept, once each.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}
        self.notes: list[str] = []

    def value(self, value: Any, path: tuple[Any, ...] = ()) -> Node:
        """The node of any value, at a path that names its arrays."""
        leaves, treespec = flatten(value)
        paths = [(*path, *rest) for rest in treespec.paths()]
        nodes = [self._leaf(leaf, where) for leaf, where in zip(leaves, paths, strict=True)]
        return encode(treespec, iter(nodes), self._note)

    def _note(self, message: str) -> None:
        if message not in self.notes:
            self.notes.append(message)

    def _leaf(self, leaf: Any, path: tuple[Any, ...]) -> Node:
        if isinstance(leaf, Operator):
            return self._operator(leaf, path)
        if isinstance(leaf, ParameterSpace):
            return encode_space(leaf, self._note)
        if isinstance(leaf, Partition):
            return encode_partition(leaf, self._note)
        if type(leaf) is float and not math.isfinite(leaf):
            return {"type": "float", "value": repr(leaf)}  # JSON has none of them
        if type(leaf) in (bool, int, float, str):
            return leaf
        if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
            return self._array(leaf, path)
        raise UnsupportedError(
            f"{path_name(path)!r} is a {type(leaf).__module__}.{type(leaf).__qualname__}, which cannot be saved; save trees of "
            "arrays, numbers, strings and None, and operators"
        )

    def _array(self, leaf: Any, path: tuple[Any, ...]) -> Node:
        array = np.asarray(leaf) if isinstance(leaf, np.generic) else leaf
        try:
            values, dtype = to_host(backend_of(array), array)
        except CurvatureError as error:
            error.add_note(f"while saving {path_name(path)!r}")
            raise
        if dtype == "bfloat16":
            values = (values.view(np.uint32) >> 16).astype(np.uint16)
        name = self._free_name(path)
        # Files are little-endian and row-major.
        self.arrays[name] = np.asarray(values, dtype=values.dtype.newbyteorder("="), order="C")
        return {"type": "array", "name": name, "dtype": dtype, "shape": [int(n) for n in values.shape]}

    def _free_name(self, path: tuple[Any, ...]) -> str:
        """The path as text, with a number behind it where two paths have one text."""
        wanted = path_name(path).encode("utf-8", "backslashreplace").decode("utf-8")
        name, number = wanted, 1
        while name in self.arrays or name == "__metadata__":
            number += 1
            name = f"{wanted}~{number}"
        return name

    def _operator(self, operator: Operator, path: tuple[Any, ...]) -> Node:
        parts = pack(operator)
        _check_parts(operator, parts)
        return {"type": "operator", **kinds.describe(type(operator)), "parts": self.value(parts, path)}


def _check_parts(operator: Operator, parts: Any) -> None:
    """Put the operator together from its parts now: a file that nobody can load must not be written.

    Raises:
        UnsupportedError: if that gives another operator.
    """
    kind = type(operator)
    again = unpack(kind, parts, operator.backend)
    for what in ("__class__", "shape", "dtype", "symmetric", "space"):
        before, after = getattr(operator, what), getattr(again, what, None)
        if before != after:
            name = {"__class__": "class"}.get(what, what)
            raise UnsupportedError(
                f"a {kind.__name__} that is packed and unpacked has another {name} ({after}, not {before}); its author gives "
                "methods of curvature.files.pack and curvature.files.unpack for this very class"
            )
