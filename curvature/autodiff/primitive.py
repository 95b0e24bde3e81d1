"""Primitives: functions of arrays, each with its linear maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .traced import CONSTANT, Traced, constant, strip

Array = Any
Map = Callable[[Array], Array]
Maps = tuple[Map, Map]
Rule = Callable[[Any, int, Array, list[Any], dict[str, Any]], Maps]
Forward = Callable[..., Array]


@dataclass(frozen=True)
class Primitive:
    """A function with a rule.

    Attributes:
        name: its name in ``Operations``.
        forward: xp -> the function on plain arrays.
        rule: ``rule(op, i, y, args, params) -> (push, pull)``, the derivative with respect to the i-th array argument:
            push maps a tangent of the argument to one of y, pull a cotangent of y to one of the argument. They are
            written with ``op``, whose functions are differentiable in turn, so that derivatives nest. None: the
            function is locally constant (comparisons, floor, argmax).
    """

    name: str
    forward: Callable[[Any], Forward]
    rule: Rule | None


PRIMITIVES: dict[str, Primitive] = {}


def define(name: str, forward: Callable[[Any], Forward], rule: Rule | None) -> None:
    """Add a primitive."""
    PRIMITIVES[name] = Primitive(name, forward, rule)


def bind(primitive: Primitive, op: Any) -> Callable[..., Any]:
    """The primitive as a function of plain and traced arrays of one library."""
    forward = primitive.forward(op.xp)
    if primitive.rule is None:
        return _bind_constant(forward, op)

    def call(*args: Any, **params: Any) -> Any:
        trace: Any = None
        level = -1
        for a in args:
            if type(a) is Traced and a._trace.level > level:
                trace = a._trace
                level = trace.level
        if trace is None:
            return forward(*args, **params)
        # Lower levels stay wrapped, so the recursion below differentiates them in their turn.
        values = [a._value if type(a) is Traced and (a._trace is trace or a._trace is CONSTANT) else a for a in args]
        return trace.record(primitive, op, call(*values, **params), args, values, params)

    return call


def _bind_constant(forward: Forward, op: Any) -> Callable[..., Any]:
    def call(*args: Any, **params: Any) -> Any:
        if any(type(a) is Traced for a in args):
            return constant(forward(*[strip(a) for a in args], **params), op)
        return forward(*args, **params)

    return call


def is_number(x: Any) -> bool:
    """Whether ``x`` is a Python number. (NumPy scalars are arrays without axes.)"""
    return type(x) in (float, int, bool)
