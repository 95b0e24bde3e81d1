"""What makes a run the one that it is: the names under which a checkpoint is held against a call of ``fit``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ..problem import Problem
from .minibatches import Minibatches

FORMAT = 1
"""Of the checkpoint: what is in it, and under which name."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def identity(problem: Problem, optimizer: Any, minibatches: Minibatches) -> dict[str, str]:
    """Everything that must be as it was for the numbers to be as they would have been, as text by name."""
    options = {f"optimizer.{name}": text(value) for name, value in _options(optimizer).items()}
    shapes = zip(problem.space.names, problem.space.shapes, strict=True)
    return {
        "checkpoint format": str(FORMAT),
        "curvature": version("curvature"),
        "backend": problem.backend.name,
        "dtype": str(problem.model.dtype),
        **{f"parameter {name}": f"array of shape {shape}" for name, shape in shapes},
        "likelihood": text(problem.likelihood),
        "reduction": problem.reduction,
        "examples": text(minibatches.examples),
        "batch_size": text(minibatches.batch_size),
        "seed": text(minibatches.seed),
        "optimizer": _name(type(optimizer)),
        **options,
    }


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is not as it was, in words."""
    return [
        f"{name} was {then.get(name, 'absent')} and is {now.get(name, 'absent')}"
        for name in [*now, *(name for name in then if name not in now)]
        if then.get(name) != now.get(name)
    ]


def text(value: Any) -> str:
    """A value as text that another process writes in the same way: functions by name, objects by their attributes."""
    if isinstance(value, type) or hasattr(value, "__qualname__"):
        return _name(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {text(entry)}" for key, entry in value.items()) + "}"
    if type(value) in (list, tuple):
        return f"{type(value).__name__}({', '.join(text(entry) for entry in value)})"
    own_repr: Any = type(value).__repr__
    if own_repr is object.__repr__:
        return f"{_name(type(value))}({', '.join(f'{name}={text(entry)}' for name, entry in _options(value).items())})"
    return _ADDRESS.sub("", repr(value))


def _options(value: Any) -> dict[str, Any]:
    """Public attributes: what a private one holds follows from them, or is a memory that must not matter."""
    return {name: entry for name, entry in getattr(value, "__dict__", {}).items() if not name.startswith("_")}


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"
