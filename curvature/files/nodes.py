"""Reading JSON that may be anything: every field is checked before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ..errors import FileFormatError, UnknownKindError, UnsupportedError

T = TypeVar("T")


def kind(node: Any) -> str | None:
    """What a node says that it is; None for a bare number or string."""
    return field(node, "type", str) if isinstance(node, dict) else None


def field(node: Any, name: str, expected: type[T]) -> T:
    """A field of a node.

    Raises:
        FileFormatError: if it is missing or of another type.
    """
    value = node.get(name) if isinstance(node, dict) else None
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise FileFormatError(f"its structure has a node without the field {name!r} ({expected.__name__}): {str(node)[:80]}")
    return value


def sizes(value: Any) -> tuple[int, ...]:
    """A list of whole numbers ≥ 0, such as a shape.

    Raises:
        FileFormatError: if it is none.
    """
    if not isinstance(value, list) or not all(type(n) is int and n >= 0 for n in value):
        raise FileFormatError(f"its structure has {str(value)[:80]} where a list of sizes should be")
    return tuple(value)


@contextmanager
def fitting(what: str) -> Iterator[None]:
    """Whatever a constructor makes of parts that do not fit is the file's fault, and is said so.

    Raises:
        FileFormatError: if the body raised anything that is not about the kind of the thing itself.
    """
    try:
        yield
    except (FileFormatError, UnknownKindError, UnsupportedError):
        raise
    except Exception as error:
        raise FileFormatError(f"{what} does not fit together: {error}") from error
