"""Which part of what a framework's model returns are its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ModelError

Output = str | int | Callable[[Any], Any] | None


def outputs_of(returned: Any, output: Output = None) -> Any:
    """The array meant by ``output``.

    Args:
        returned: what the model returned.
        output: None: the array itself, or the field ``logits`` of a structure that has one; a name (key or attribute), a
            position, or a function of what was returned.

    Raises:
        ModelError: naming what there is instead.
    """
    if callable(output):
        found = output(returned)
    elif output is None:
        found = returned if hasattr(returned, "shape") else _field(returned, "logits")
    elif isinstance(output, str):
        found = _field(returned, output)
    else:
        found = returned[output] if isinstance(returned, (tuple, list)) and len(returned) > output else None
    if found is None or not hasattr(found, "shape"):
        raise ModelError(
            f"the model returned {_described(returned)}, in which output={output!r} is no array; say which part is meant: "
            f"curvature.as_model(model, output=...) takes a name, a position or a function"
        )
    return found


def _field(returned: Any, name: str) -> Any:
    if isinstance(returned, Mapping):
        return returned.get(name)
    return getattr(returned, name, None)


def _described(returned: Any) -> str:
    kind = type(returned).__name__
    if isinstance(returned, Mapping):
        return f"a {kind} with {', '.join(map(repr, returned)) or 'nothing'}"
    if isinstance(returned, (tuple, list)):
        return f"a {kind} of {len(returned)}"
    return f"a {kind}"
