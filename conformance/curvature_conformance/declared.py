"""What plugins answer to a hook of the suite."""

from __future__ import annotations

from typing import Any, TypeVar

from curvature.registry import hooks

T = TypeVar("T")


def answers(hook: str, kind: type[T], **arguments: Any) -> list[T]:
    """All that plugins return, in one list.

    Raises:
        TypeError: a plugin returned something else than instances of ``kind``.
    """
    found = [part for answer in getattr(hooks(), hook)(**arguments) for part in answer]
    for part in found:
        if not isinstance(part, kind):
            article = "an" if kind.__name__[0] in "AEIOU" else "a"
            raise TypeError(f"{hook} returned {part!r}, which is not {article} {kind.__name__}")
    return found
