"""The values that nodes stand for: the counterpart of ``encoding``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..backend import Backend
from ..errors import FileFormatError
from ..operators import Operator
from ..operators.moving import PORTABLE
from . import kinds
from .containers import decode
from .nodes import field, fitting, kind, sizes
from .packing import unpack
from .spaces import decode_partition, decode_space

Node = Any


def array_nodes(node: Node) -> Iterator[Node]:
    """The nodes of all arrays in a structure."""
    if isinstance(node, dict):
        if node.get("type") == "array":
            yield node
        else:
            for entry in node.values():
                yield from array_nodes(entry)
    elif isinstance(node, list):
        for entry in node:
            yield from array_nodes(entry)


def check_arrays(structure: Node, stored: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, str]:
    """Dtype of every array by name, after holding the structure against what is stored: {name: (dtype, shape)}.

    Raises:
        FileFormatError: naming an array that is missing, of another shape or dtype, or that belongs nowhere.
    """
    dtypes: dict[str, str] = {}
    for node in array_nodes(structure):
        name, dtype, shape = field(node, "name", str), field(node, "dtype", str), sizes(node.get("shape"))
        if dtype not in PORTABLE:
            raise FileFormatError(f"its array {name!r} is of an unknown dtype, {dtype!r}")
        if name not in stored:
            raise FileFormatError(f"its array {name!r} is missing")
        if name in dtypes:
            raise FileFormatError(f"its array {name!r} is used twice")
        expected = ("uint16" if dtype == "bfloat16" else dtype, shape)
        if stored[name] != expected:
            raise FileFormatError(f"its array {name!r} is stored as {stored[name]} where {expected} is expected")
        dtypes[name] = dtype
    left = sorted(set(stored) - set(dtypes))
    if left:
        raise FileFormatError(f"its array {left[0]!r} belongs nowhere")
    return dtypes


def widened(values: Any, dtype: str) -> Any:
    """Stored values as ``operators.moving.from_host`` takes them: bfloat16 as float32, of which it is the upper half."""
    return (values.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else values


class Decoder:
    """Turns nodes into values.

    Args:
        arrays: all arrays by name, on ``backend``.

    Attributes:
        notes: what could not be kept, once each.
    """

    def __init__(self, arrays: Mapping[str, Any], backend: Backend) -> None:
        self._arrays = arrays
        self._backend = backend
        self.notes: list[str] = []

    def value(self, node: Node) -> Any:
        """The value of a node.

        Raises:
            FileFormatError: if the node is none, or what is in it does not fit together.
            UnknownKindError: for a kind of operator that nobody knows.
        """
        return decode(node, self._leaf, self._note)

    def _note(self, message: str) -> None:
        if message not in self.notes:
            self.notes.append(message)

    def _leaf(self, node: Node) -> Any:
        match kind(node):
            case None if isinstance(node, bool | int | float | str):
                return node
            case "float":
                return _special_float(field(node, "value", str))
            case "array":
                return self._arrays[field(node, "name", str)]
            case "space":
                return decode_space(node, self._note)
            case "partition":
                return decode_partition(node, self._note)
            case "operator":
                return self._operator(node)
        raise FileFormatError(f"its structure has a node that nobody knows: {str(node)[:80]}")

    def _operator(self, node: Node) -> Operator:
        name = field(node, "class", str)
        found = kinds.find(name, field(node, "module", str), field(node, "written_by", str))
        parts = self.value(node.get("parts"))
        with fitting(f"its {name}"):
            operator = unpack(found, parts, self._backend)
        if type(operator) is not found:
            raise FileFormatError(f"its {name} became a {type(operator).__name__}; curvature.files.unpack has no method for it")
        return operator


def _special_float(text: str) -> float:
    if text not in ("nan", "inf", "-inf"):
        raise FileFormatError(f"{text!r} is no number")
    return float(text)
