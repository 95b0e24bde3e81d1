"""Containers of trees as JSON: what optree knows of them, without a pickle.

A node is ``{"type": "dict" | "ordered-dict", "items": [[key, node], …]}``, ``{"type": "list" | "tuple", "items": [node, …]}``,
``{"type": "namedtuple", "module", "class", "fields", "items"}`` or null; leaves are written by whoever owns them.

A namedtuple comes back as its own class where the module of that class is imported, and otherwise as a new one with the
same fields. Any other container (a deque, a class registered with optree) becomes an ordered dictionary of its children:
names and flat order stay, the class does not. Both are said in a ``ContainerWarning``.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import optree

from ..errors import FileFormatError, UnsupportedError
from .nodes import field, kind

Node = Any
Warn = Callable[[str], None]

_MAPPINGS = {dict: "dict", OrderedDict: "ordered-dict"}
_SEQUENCES = {list: "list", tuple: "tuple"}


def encode(treespec: Any, leaves: Iterator[Node], warn: Warn) -> Node:
    """The node of an optree structure, taking its leaves from an iterator in flat order."""
    if treespec.is_leaf():
        return next(leaves)
    container = treespec.type
    children = [encode(child, leaves, warn) for child in treespec.children()]
    if container is None or container is type(None):
        return None
    if container in _MAPPINGS:
        keys = [_encode_key(key) for key in treespec.entries()]
        return {"type": _MAPPINGS[container], "items": [list(pair) for pair in zip(keys, children, strict=True)]}
    if container in _SEQUENCES:
        return {"type": _SEQUENCES[container], "items": children}
    if optree.is_namedtuple_class(container):
        fields = list(optree.namedtuple_fields(container))
        name = {"module": container.__module__, "class": container.__qualname__}
        return {"type": "namedtuple", **name, "fields": fields, "items": children}
    warn(
        f"a {container.__module__}.{container.__qualname__} is written as an ordered dictionary with the same leaves: files keep "
        "dict, OrderedDict, list, tuple and namedtuple"
    )
    keys = _plain_keys(treespec.entries())
    return {"type": "ordered-dict", "items": [list(pair) for pair in zip(keys, children, strict=True)]}


def decode(node: Node, leaf: Callable[[Node], Any], warn: Warn) -> Any:
    """The tree of a node; nodes of other types than the above are given to ``leaf``."""
    if node is None:
        return None
    what = kind(node)
    if what in _MAPPINGS.values():
        container = dict if what == "dict" else OrderedDict
        pairs = [_pair(item) for item in field(node, "items", list)]
        keys = [_decode_key(key) for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise FileFormatError(f"a dictionary has a key twice: {keys}")
        return container(zip(keys, (decode(value, leaf, warn) for _, value in pairs), strict=True))
    if what in _SEQUENCES.values():
        items = [decode(item, leaf, warn) for item in field(node, "items", list)]
        return items if what == "list" else tuple(items)
    if what == "namedtuple":
        items = [decode(item, leaf, warn) for item in field(node, "items", list)]
        fields = tuple(field(node, "fields", list))
        if len(fields) != len(items) or not all(isinstance(name, str) for name in fields):
            raise FileFormatError(f"a namedtuple with the fields {fields} has {len(items)} values")
        return _namedtuple(field(node, "module", str), field(node, "class", str), fields, warn)(*items)
    return leaf(node)


def _pair(item: Any) -> tuple[Any, Any]:
    if not isinstance(item, list) or len(item) != 2:
        raise FileFormatError(f"an item of a dictionary is a key and a value, got {item!r}")
    return item[0], item[1]


# Keys ---------------------------------------------------------------------------------------------


def _encode_key(key: Any) -> Any:
    if type(key) is tuple:
        return {"type": "tuple", "items": [_encode_key(entry) for entry in key]}
    if not _is_plain(key):
        raise UnsupportedError(
            f"a dictionary with the key {key!r} ({type(key).__name__}) cannot be saved; keys are strings, numbers, None or tuples"
        )
    return key


def _is_plain(key: Any) -> bool:
    # nan equals nothing, so that a dictionary with it for a key equals no other; JSON has no infinity.
    return key is None or type(key) in (str, int, bool) or (type(key) is float and abs(key) < float("inf"))


def _plain_keys(entries: list[Any]) -> list[Any]:
    keys = [entry if _is_plain(entry) else str(entry) for entry in entries]
    return keys if len(set(keys)) == len(keys) else list(range(len(keys)))


def _decode_key(key: Any) -> Any:
    if isinstance(key, dict) and kind(key) == "tuple":
        return tuple(_decode_key(entry) for entry in field(key, "items", list))
    if not _is_plain(key):
        raise FileFormatError(f"{key!r} is no key of a dictionary")
    return key


# Namedtuples --------------------------------------------------------------------------------------


def _namedtuple(module: str, name: str, fields: tuple[str, ...], warn: Warn) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, "__dict__", {}).get(part)  # not getattr: some modules import on that
    if isinstance(found, type) and optree.is_namedtuple_class(found) and tuple(optree.namedtuple_fields(found)) == fields:
        return found
    warn(
        f"the namedtuple {name} of {module} is not there (it may have to be imported first, or its fields have changed); one "
        f"of the same name with the fields {', '.join(fields)} stands for it"
    )
    return _new_namedtuple(name.rpartition(".")[2], fields)


@lru_cache(maxsize=256)
def _new_namedtuple(name: str, fields: tuple[str, ...]) -> Any:
    """One class for one name and fields, so that trees of two files have one structure."""
    try:
        return namedtuple(name, fields)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{name!r} with the fields {fields} is no namedtuple: {error}") from error
