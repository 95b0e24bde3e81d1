"""Levels of differentiation: tangents carried forward, and the recorded graph that is walked both ways."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

from ..errors import DifferentiationError
from .primitive import Map, Primitive
from .traced import Traced

Array = Any

# A trace made later lies inside those made earlier, so creation order is nesting order. Zero is the constants'.
_levels = itertools.count(1)
_indices = itertools.count()


class Call(NamedTuple):
    """What was called to make a node; kept only where structure is looked for."""

    name: str
    args: tuple[Any, ...]
    values: list[Any]
    params: dict[str, Any]
    value: Array


class Node:
    """A point of the recorded graph: edges (parent, push, pull) to what it was made from; a leaf has none."""

    __slots__ = ("call", "edges", "index")

    def __init__(self, edges: Sequence[tuple[Node, Map, Map]], call: Call | None = None) -> None:
        self.index = next(_indices)
        self.edges = edges
        self.call = call


class Level:
    """One running transform.

    Attributes:
        level: its depth; a trace made later lies inside those made earlier.
        ended: whether its function has returned. What is computed from its arrays afterwards could reach no result.
    """

    def __init__(self) -> None:
        self.level = next(_levels)
        self.ended = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        self.ended = True

    def check(self, name: str, op: Any, value: Array) -> None:
        """Refuse what has no derivative at this level.

        Raises:
            DifferentiationError: after the end of the transform, or if the result is complex.
        """
        if self.ended:
            refuse_leaked(f"{name} of ")
        if op.is_complex(value.dtype):
            raise DifferentiationError(
                f"{name} gives complex numbers ({value.dtype}), and derivatives here are of real functions: keep the real "
                "and the imaginary part as two real arrays"
            )


def refuse_leaked(what: str) -> NoReturn:
    """Say that an array has outlived its transform."""
    raise DifferentiationError(
        f"{what}an array whose differentiation has ended: it was kept (in a list, an attribute, a closure or a cache) by a "
        "function under jvp, vjp, linearize or gradient and used after that; return it from the function as one more "
        "output, or compute it anew"
    )


class ReverseTrace(Level):
    """A level that records the graph.

    Args:
        inspect: keep what was called at every node (this holds on to all intermediate arrays).
    """

    def __init__(self, *, inspect: bool = False) -> None:
        super().__init__()
        self.inspect = inspect

    def leaf(self, value: Array, op: Any) -> Traced:
        """A new independent array."""
        return Traced(value, self, Node(()), op)

    def record(
        self,
        primitive: Primitive,
        op: Any,
        value: Array,
        args: tuple[Any, ...],
        values: list[Any],
        params: dict[str, Any],
    ) -> Traced:
        """Keep a node with the maps of every argument of this level."""
        self.check(primitive.name, op, value)
        rule: Any = primitive.rule
        edges = [
            (a._node, *rule(op, i, value, values, params)) for i, a in enumerate(args) if type(a) is Traced and a._trace is self
        ]
        call = Call(primitive.name, args, values, params, value) if self.inspect else None
        return Traced(value, self, Node(edges, call), op)


class ForwardTrace(Level):
    """A level that carries the tangent along with the value."""

    def leaf(self, value: Array, tangent: Array, op: Any) -> Traced:
        """An array with its tangent."""
        return Traced(value, self, tangent, op)

    def record(
        self,
        primitive: Primitive,
        op: Any,
        value: Array,
        args: tuple[Any, ...],
        values: list[Any],
        params: dict[str, Any],
    ) -> Traced:
        """Sum the pushes of all arguments of this level."""
        self.check(primitive.name, op, value)
        rule: Any = primitive.rule
        tangent: Any = None
        for i, a in enumerate(args):
            if type(a) is Traced and a._trace is self:
                part = rule(op, i, value, values, params)[0](a._node)
                tangent = part if tangent is None else op.add(tangent, part)
        return Traced(value, self, tangent, op)


class Graph:
    """The part of a recorded graph on which some outputs depend, in the order of its making."""

    def __init__(self, outputs: Iterable[Node | None], op: Any) -> None:
        self.outputs = list(outputs)
        self.op = op
        found: set[Node] = set()
        stack = [node for node in self.outputs if node is not None]
        while stack:
            node = stack.pop()
            if node not in found:
                found.add(node)
                stack.extend(edge[0] for edge in node.edges)
        self.nodes = sorted(found, key=lambda node: node.index)

    def push(self, tangents: dict[Node, Array]) -> list[Array | None]:
        """Tangents of the outputs from those of the leaves; None stands for zero."""
        add = self.op.add
        known = dict(tangents)
        for node in self.nodes:
            total = None
            for parent, push, _ in node.edges:
                if (t := known.get(parent)) is not None:
                    part = push(t)
                    total = part if total is None else add(total, part)
            if total is not None:
                known[node] = total
        return [None if node is None else known.get(node) for node in self.outputs]

    def pull(
        self,
        cotangents: Sequence[Array],
        keep: Iterable[Node],
        active: Callable[[Node], bool] | None = None,
    ) -> dict[Node, Array]:
        """Cotangents of the nodes ``keep`` from those of the outputs; a node missing from the result has zero.

        ``active`` says through which nodes to pull at all; by default through all.
        """
        add = self.op.add
        known: dict[Node, Array] = {}
        for node, g in zip(self.outputs, cotangents, strict=True):
            if node is not None:
                known[node] = add(known[node], g) if node in known else g
        kept = set(keep)
        result: dict[Node, Array] = {}
        for node in reversed(self.nodes):
            g = known.pop(node, None)  # popped: its memory is free as soon as it has been used
            if g is None:
                continue
            if node in kept:
                result[node] = g
            for parent, _, pull in node.edges:
                if active is None or active(parent):
                    part = pull(g)
                    known[parent] = add(known[parent], part) if parent in known else part
        return result
