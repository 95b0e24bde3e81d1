"""Finding, in a recorded graph, the ways in which parameters enter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import array_api_compat
import numpy as np

from ..backend.uses import Use
from .tape import Call, Node
from .traced import Traced, strip
from .transforms import Recording
from .views import View

Array = Any
Arrange = Callable[[Array], Array]


@dataclass(frozen=True)
class Found:
    """A recognised use.

    Attributes:
        use: what is reported.
        shape: of its output.
        axes: the axes of the output that count as d_out.
        arrange: brings cotangents (R, *shape of the output) into the form (R, N, *positions, d_out).
    """

    use: Use
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    arrange: Arrange


class Search:
    """One pass over the graph in the order of its making.

    Attributes:
        found: the recognised uses by the nodes of their outputs.
        unrecognised: parameter -> reason.
        unused: parameters on which the outputs do not depend.
    """

    def __init__(self, recording: Recording, names: Sequence[str], examples: int) -> None:
        graph = recording.graph
        self._xp = recording.primal.op.xp
        self._device = recording.primal.op.device(recording.primal.arrays[0])
        self._examples = examples
        self._views: dict[Node, View] = {
            node: View(name, tuple(int(n) for n in x.shape), math.prod(int(n) for n in x.shape))
            for node, name, x in zip(recording.leaves, names, recording.primal.arrays, strict=True)
        }
        self.found: dict[Node, Found] = {}
        self.unrecognised: dict[str, str] = {}
        self._consumers: dict[Node, int] = {}
        for node in graph.nodes:
            for edge in node.edges:
                self._consumers[edge[0]] = self._consumers.get(edge[0], 0) + 1
        for output in graph.outputs:
            if output is not None:
                self._consumers[output] = self._consumers.get(output, 0) + 1
        for node in graph.nodes:
            if node.call is not None and any(edge[0] in self._views for edge in node.edges):
                self._visit(node, node.call)
        for output in graph.outputs:
            view = None if output is None else self._views.get(output)
            if output is not None and view is not None:
                if examples == 1 and view.shape[:1] == (1,):  # repeated for the only example
                    self._shift(output, view, view.shape)
                else:
                    self._refuse(view, "is an output itself")
        reached = {node for node in graph.nodes if not node.edges}
        self.unused = tuple(name for node, name in zip(recording.leaves, names, strict=True) if node not in reached)

    def _refuse(self, view: View, reason: str) -> None:
        self.unrecognised.setdefault(view.parameter, reason)

    def _parent(self, x: Any, node: Node) -> Node | None:
        """The node of an argument, if it is one of the parents of ``node``."""
        if type(x) is Traced and any(edge[0] is x._node for edge in node.edges):
            return x._node  # type: ignore[no-any-return]
        return None

    def _visit(self, node: Node, call: Call) -> None:
        parents = [self._parent(a, node) for a in call.args]
        views = [None if p is None else self._views.get(p) for p in parents]
        move = _MOVES.get(call.name)
        if move is not None and len(views) == 1 and views[0] is not None:
            self._move(node, views[0], move(views[0], call.params, _shape(call.value)), call)
        elif call.name == "matmul":
            self._matmul(node, call, views)
        elif call.name in ("add", "subtract"):
            self._sum(node, call, parents, views)
        elif call.name == "multiply":
            self._product(node, call, views)
        else:
            for view in views:
                if view is not None:
                    self._refuse(view, f"enters through {call.name}")

    # Views --------------------------------------------------------------------------------------------

    def _move(self, node: Node, source: View, view: View, call: Call) -> None:
        """A view of a view; or rows of a table, one or several for each example; or a vector repeated for every example."""
        shape, n = _shape(call.value), self._examples
        if call.name == "broadcast_to" and shape[:1] == (n,) and _has_no_examples(source, shape):
            self._shift(node, source, shape)
        elif view.rows is not None and len(shape) >= 2 and shape[0] == n:
            self._embed(node, view)
        else:
            self._views[node] = view

    def _embed(self, node: Node, view: View) -> None:
        d = view.shape[-1]
        numbers = self._xp.reshape(view.rows, view.shape[:-1])
        use = Use("embedding", view.parameter, None, numbers, (view.size // d, d))
        self.found[node] = Found(use, view.shape, (len(view.shape) - 1,), lambda g: g)

    # Uses ---------------------------------------------------------------------------------------------

    def _matmul(self, node: Node, call: Call, views: list[View | None]) -> None:
        left, weight = views
        if left is not None:
            self._refuse(left, "enters through matmul as the left operand")
        if weight is None:
            return
        inputs = strip(call.values[0])
        if left is not None or len(inputs.shape) < 2:
            self._refuse(weight, "enters through matmul with a left operand that has no axis of examples")
        elif len(weight.shape) == 3 and len(inputs.shape) == 4 and inputs.shape[1] == weight.shape[0]:
            self._grouped(node, weight, inputs, _shape(call.value))
        elif len(weight.shape) != 2:
            self._refuse(weight, f"enters through matmul in the shape {weight.shape}, which is no matrix")
        else:
            transposed = weight.split is not None
            shape = weight.split if weight.split is not None else weight.shape
            inputs, arrange = self._examples_first(inputs)
            entries = self._entries(weight) if weight.entries is not None else None
            use = Use("linear", weight.parameter, None, inputs, (shape[0], shape[1]), transposed, entries=entries)
            self.found[node] = Found(use, _shape(call.value), (len(call.value.shape) - 1,), arrange)

    def _examples_first(self, inputs: Array) -> tuple[Array, Arrange]:
        """Inputs (N · T, d) as (N, T, d), with cotangents to match; others as they are."""
        rows, n, xp = int(inputs.shape[0]), self._examples, self._xp
        if len(inputs.shape) != 2 or rows == n or rows % n:
            return inputs, lambda g: g
        return (
            xp.reshape(inputs, (n, rows // n, inputs.shape[1])),
            lambda g: xp.reshape(g, (g.shape[0], n, rows // n, g.shape[2])),
        )

    def _grouped(self, node: Node, weight: View, inputs: Array, shape: tuple[int, ...]) -> None:
        """(N, groups, T, d_in) @ (groups, d_in, d_out)."""
        if not weight.stacked:
            self._refuse(weight, "enters through matmul as a stack of matrices (d_in, d_out), which are no rows of one matrix")
            return
        xp, (groups, d_in, d_out) = self._xp, weight.shape

        def flat(x: Array, lead: int) -> Array:
            """(…, groups, T, d) as (…, T, groups · d)."""
            axes = (*range(lead), lead + 1, lead, lead + 2)
            return xp.reshape(xp.permute_dims(x, axes), (*x.shape[:lead], x.shape[lead + 1], -1))

        use = Use("linear", weight.parameter, None, flat(inputs, 1), (groups * d_out, d_in), True, groups=groups)
        self.found[node] = Found(use, shape, (1, 3), lambda g: flat(g, 2))

    def _sum(self, node: Node, call: Call, parents: list[Node | None], views: list[View | None]) -> None:
        shape = _shape(call.value)
        for i, view in enumerate(views):
            if view is None:
                continue
            other = parents[1 - i]
            if not self._meets_examples(view, views[1 - i], call.values[1 - i], shape):
                found = tuple(getattr(call.values[1 - i], "shape", ()))
                self._refuse(view, f"enters through {call.name} in the shape {view.shape} with an array of shape {found}")
            elif call.name == "subtract" and i == 1:
                self._shift(node, view, shape, sign=-1.0)
            elif call.name == "add" and other is not None and self._takes_bias(other, view, shape):
                base = self.found.pop(other)
                self.found[node] = replace(base, shape=shape, use=replace(base.use, bias=view.parameter))
            else:
                self._shift(node, view, shape)

    def _product(self, node: Node, call: Call, views: list[View | None]) -> None:
        shape, xp = _shape(call.value), self._xp
        for i, view in enumerate(views):
            if view is None:
                continue
            factor = strip(call.values[1 - i])
            if not self._meets_examples(view, views[1 - i], factor, shape):
                found = tuple(getattr(factor, "shape", ()))
                self._refuse(view, f"enters through multiply in the shape {view.shape} with an array of shape {found}")
                continue
            axes = _own_axes(view, shape)
            inputs = _arranged(xp, xp.broadcast_to(factor, shape), axes, lead=0)
            size = math.prod(shape[a] for a in axes)
            use = Use("scale", view.parameter, None, inputs, (1, size), entries=self._entries(view))
            self.found[node] = Found(use, shape, axes, partial(_arranged, xp, axes=axes, lead=1))

    def _shift(self, node: Node, view: View, shape: tuple[int, ...], sign: float = 1.0) -> None:
        xp, axes = self._xp, _own_axes(view, shape)
        size = math.prod(shape[a] for a in axes)
        use = Use("shift", view.parameter, None, None, (1, size), entries=self._entries(view))

        def arrange(g: Array) -> Array:
            arranged = _arranged(xp, g, axes, lead=1)
            return arranged if sign == 1.0 else arranged * sign

        self.found[node] = Found(use, shape, axes, arrange)

    def _meets_examples(self, view: View, other_view: View | None, other: Any, shape: tuple[int, ...]) -> bool:
        """Whether a view meets, element by element, an array that has the axis of examples, which it has not itself."""
        other_shape = tuple(getattr(other, "shape", ()))
        has_examples = len(other_shape) == len(shape) and other_shape[:1] == shape[:1]
        return other_view is None and len(shape) > 0 and has_examples and _has_no_examples(view, shape)

    def _takes_bias(self, node: Node, view: View, shape: tuple[int, ...]) -> bool:
        """Whether a node is a product to which nothing was added yet, which has no other consumer and whose axes fit."""
        found = self.found.get(node)
        if found is None or found.use.kind not in ("linear", "scale") or found.use.bias is not None:
            return False
        if found.use.entries is not None or not view.is_plain or self._consumers[node] != 1:
            return False
        return found.axes == _own_axes(view, shape) and math.prod(shape[a] for a in found.axes) == view.size

    def _entries(self, view: View) -> Array | None:
        """Positions in the parameter for ``Use.entries``; None where it is there as a whole and in its own order."""
        if view.is_plain:
            return None
        return self._xp.asarray(np.ravel(view.positions()), dtype=self._xp.int64, device=self._device)


def _shape(x: Array) -> tuple[int, ...]:
    return tuple(int(n) for n in x.shape)


def _has_no_examples(view: View, shape: tuple[int, ...]) -> bool:
    """Whether a view that is broadcast to ``shape`` is the same for all examples."""
    return len(view.shape) < len(shape) or (len(shape) > 0 and view.shape[0] == 1)


def _own_axes(view: View, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of ``shape`` along which a view that is broadcast to it has elements of its own."""
    offset = len(shape) - len(view.shape)
    own = [offset + a for a, n in enumerate(view.shape) if n != 1 and offset + a > 0]
    # A vector of one number has the last axis, unless that is the axis of examples.
    return tuple(own) if own or len(shape) < 2 or shape[-1] != 1 else (len(shape) - 1,)


def _arranged(xp: Any, x: Array, axes: tuple[int, ...], lead: int) -> Array:
    """Arrays (*lead, N, …) as (*lead, N, *positions, size): the given axes last and as one."""
    rest = [a for a in range(x.ndim) if a - lead not in axes]
    order = (*rest, *(a + lead for a in axes))
    size = math.prod(int(x.shape[a + lead]) for a in axes)
    if order != tuple(range(x.ndim)):
        x = xp.permute_dims(x, order)
    return x if len(axes) == 1 else xp.reshape(x, (*x.shape[: len(rest)], size))


Shape = tuple[int, ...]
Move = Callable[[View, dict[str, Any], Shape], View]


def _on_host(x: Array) -> np.ndarray:
    return np.asarray(array_api_compat.to_device(x, "cpu") if array_api_compat.is_cupy_array(x) else x)


def _getitem(view: View, params: dict[str, Any], shape: Shape) -> View:
    key = tuple(_on_host(k) if hasattr(k, "shape") else k for k in params["key"])
    return view.chosen(lambda entries: entries[key], shape)


def _take_rows(view: View, params: dict[str, Any], shape: Shape) -> View:
    indices = params["indices"]
    rows = indices if view.is_plain and len(view.shape) == 2 else None
    return view.chosen(lambda entries: np.take(entries, _on_host(indices), axis=0), shape, rows)


def _reshape(view: View, params: dict[str, Any], shape: Shape) -> View:
    reshaped = view.reshaped(shape)
    return replace(reshaped, rows=view.rows) if shape[-1:] == view.shape[-1:] else reshaped


def _permute(view: View, params: dict[str, Any], shape: Shape) -> View:
    return view.permuted(tuple(params["axes"]))


def _broadcast(view: View, params: dict[str, Any], shape: Shape) -> View:
    return view.chosen(lambda entries: np.broadcast_to(entries, shape), shape)


def _flip(view: View, params: dict[str, Any], shape: Shape) -> View:
    return view.chosen(lambda entries: np.flip(entries, axis=params["axis"]), shape)


def _roll(view: View, params: dict[str, Any], shape: Shape) -> View:
    return view.chosen(lambda entries: np.roll(entries, params["shift"], axis=params["axis"]), shape)


_MOVES: dict[str, Move] = {
    "reshape": _reshape,
    "permute_dims": _permute,
    "broadcast_to": _broadcast,
    "flip": _flip,
    "roll": _roll,
    "getitem": _getitem,
    "take_rows": _take_rows,
}
"""Functions that only move, repeat or drop the elements of a parameter."""
