"""The bytes that an operator holds."""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from ..backend import Backend
from ..operators import Operator, Partition
from ..problem import Model, Problem, Structure
from ..trees import ParameterSpace, count

Array = Any

_NOT_HELD = (
    Problem,
    Model,
    Structure,
    Backend,
    ParameterSpace,
    Partition,
    str,
    bytes,
    int,
    float,
    type,
    FunctionType,
    MethodType,
    BuiltinFunctionType,
    ModuleType,
)
"""What an operator refers to and does not hold: the caller's problem, names and layouts, and functions."""


def arrays_of(operator: Operator) -> list[Array]:
    """Every array that is reached from the operator's attributes, once each.

    Parameters and data of a problem are the caller's and do not count; nor is seen what a closure keeps.
    """
    backend, found, seen = operator.backend, [], set[int]()
    waiting: list[Any] = [operator]
    while waiting:
        thing = waiting.pop()
        if thing is None or id(thing) in seen:
            continue
        seen.add(id(thing))
        if backend.owns(thing):
            found.append(thing)
        elif isinstance(thing, dict):
            waiting.extend(thing.values())
        elif isinstance(thing, (list, tuple, set, frozenset)):
            waiting.extend(thing)
        elif not isinstance(thing, _NOT_HELD):
            waiting.extend(getattr(thing, "__dict__", {}).values())
            slots = getattr(type(thing), "__slots__", ())
            waiting.extend(getattr(thing, name, None) for name in ((slots,) if isinstance(slots, str) else slots))
    return found


def held_bytes(operator: Operator) -> int:
    """Bytes of all arrays that an operator holds: what it keeps for later solves counts once it is there."""
    return sum(array_bytes(operator.xp, array) for array in arrays_of(operator))


def array_bytes(xp: Any, array: Array) -> int:
    """Bytes of an array."""
    dtype = array.dtype
    if xp.isdtype(dtype, "bool"):
        width = 1
    elif xp.isdtype(dtype, "complex floating"):
        width = 2 * (xp.finfo(dtype).bits // 8)
    else:
        width = (xp.finfo(dtype) if xp.isdtype(dtype, "real floating") else xp.iinfo(dtype)).bits // 8
    return int(count(array)) * int(width)
