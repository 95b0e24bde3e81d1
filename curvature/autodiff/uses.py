"""How the parameters of a plain function enter it, read off the recorded graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import optree

from ..backend.uses import ParameterUses, Use
from ..errors import DifferentiationError, ShapeError
from ..trees import leaves as tree_leaves
from ..trees import path_name
from .tape import Call, Node
from .traced import Traced, lift, strip, strip_constant
from .transforms import Recording

Array = Any
Tree = Any


@dataclass(frozen=True)
class View:
    """A parameter seen as another array with the same elements.

    Attributes:
        parameter: its path.
        shape: the shape in which it is seen.
        split: None if the elements are in the parameter's own order. Otherwise the parameter is, in row-major order,
            a matrix of shape ``split`` that is seen transposed (perhaps with its two axes divided further).
    """

    parameter: str
    shape: tuple[int, ...]
    split: tuple[int, int] | None = None

    def reshaped(self, shape: tuple[int, ...]) -> View | None:
        """The view in another shape, or None where it is no longer one."""
        if self.split is None or _divides(shape, self.split[1]):
            return replace(self, shape=shape)
        return None

    def permuted(self, axes: tuple[int, ...]) -> View | None:
        """The view with its axes in another order, if that order transposes one matrix."""
        n = len(axes)
        if axes == tuple(range(n)):
            return self
        shape = tuple(self.shape[a] for a in axes)
        k = axes[0]
        if axes != (*range(k, n), *range(k)):
            return None
        rows, columns = math.prod(self.shape[:k]), math.prod(self.shape[k:])
        if self.split is None:
            return replace(self, shape=shape, split=(rows, columns))
        return replace(self, shape=shape, split=None) if (columns, rows) == self.split else None

    @property
    def is_vector(self) -> bool:
        """Whether it is a vector, broadcast over leading axes when added."""
        return self.split is None and len(self.shape) > 0 and math.prod(self.shape[:-1]) == 1


def _divides(shape: tuple[int, ...], leading: int) -> bool:
    """Whether some leading axes of ``shape`` hold exactly ``leading`` elements."""
    return any(math.prod(shape[:k]) == leading for k in range(len(shape) + 1))


class Found(NamedTuple):
    """A recognised use and the shape of its output."""

    use: Use
    shape: tuple[int, ...]


class Search:
    """One pass over the graph in the order of its making."""

    def __init__(self, recording: Recording, names: Sequence[str]) -> None:
        graph = recording.graph
        self.views: dict[Node, View] = {
            node: View(name, tuple(x.shape))
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
            if node.call is not None and any(edge[0] in self.views for edge in node.edges):
                self._visit(node, node.call)
        for output in graph.outputs:
            if output in self.views:
                self._refuse(self.views[output], "is an output itself")
        reached = {node for node in graph.nodes if not node.edges}
        self.unused = tuple(name for node, name in zip(recording.leaves, names, strict=True) if node not in reached)

    def _refuse(self, view: View, reason: str) -> None:
        self.unrecognised.setdefault(view.parameter, reason)

    def _node(self, x: Any, node: Node) -> Node | None:
        """The node of an argument, if it is one of the parents of ``node``."""
        if type(x) is Traced and any(edge[0] is x._node for edge in node.edges):
            return x._node  # type: ignore[no-any-return]
        return None

    def _visit(self, node: Node, call: Call) -> None:
        parents = [self._node(a, node) for a in call.args]
        views = [None if p is None else self.views.get(p) for p in parents]
        if call.name in ("reshape", "permute_dims"):
            view = views[0]
            assert view is not None
            shape = tuple(call.value.shape)
            seen = view.reshaped(shape) if call.name == "reshape" else view.permuted(call.params["axes"])
            if seen is None:
                self._refuse(view, f"enters through {call.name}, which mixes the two sides of a matrix")
            else:
                self.views[node] = seen
        elif call.name == "matmul":
            self._matmul(node, call, views)
        elif call.name == "add":
            self._add(node, call, parents, views)
        else:
            for view in views:
                if view is not None:
                    self._refuse(view, f"enters through {call.name}")

    def _matmul(self, node: Node, call: Call, views: list[View | None]) -> None:
        left, weight = views
        if left is not None:
            self._refuse(left, "enters through matmul as the left operand")
        if weight is None:
            return
        inputs = call.values[0]
        if len(weight.shape) != 2:
            self._refuse(weight, f"enters through matmul in the shape {weight.shape}, which is no matrix")
        elif left is not None or len(inputs.shape) < 2:
            self._refuse(weight, "enters through matmul with a left operand that has no axis of examples")
        else:
            transposed = weight.split is not None
            shape = weight.split if weight.split is not None else weight.shape
            use = Use("linear", weight.parameter, None, strip(inputs), (shape[0], shape[1]), transposed)
            self.found[node] = Found(use, tuple(call.value.shape))

    def _add(self, node: Node, call: Call, parents: list[Node | None], views: list[View | None]) -> None:
        for i, view in enumerate(views):
            if view is None:
                continue
            other, shape = parents[1 - i], tuple(call.value.shape)
            other_shape = tuple(getattr(call.values[1 - i], "shape", ()))
            # The sum must keep the other operand's shape, of which the last axis is the vector's.
            fits = view.is_vector and len(shape) >= 2 and other_shape == shape and view.shape[-1] == shape[-1]
            if views[1 - i] is not None or not fits:
                self._refuse(view, f"enters through add in the shape {view.shape} to an array of shape {other_shape}")
                continue
            if other is not None and self._takes_bias(other):
                self.found[node] = Found(replace(self.found.pop(other).use, bias=view.parameter), shape)
            else:
                self.found[node] = Found(Use("shift", view.parameter, None, None, (1, shape[-1])), shape)

    def _takes_bias(self, node: Node) -> bool:
        """Whether a node is a product to which nothing was added yet and which has no other consumer."""
        found = self.found.get(node)
        return found is not None and found.use.kind == "linear" and found.use.bias is None and self._consumers[node] == 1


class RecordedUses(ParameterUses):
    """Uses of the parameters in one recorded evaluation, with their output cotangents."""

    def __init__(self, recording: Recording) -> None:
        names = [path_name(path) for path in recording.primal.treespec.paths()]
        search = Search(recording, names)
        found = sorted(search.found.items(), key=lambda item: item[0].index)
        self.outputs = recording.outputs.arrays[0]
        self.uses = tuple(f.use for _, f in found)
        self.unrecognised = search.unrecognised
        self.unused = search.unused
        self._recording = recording
        self._slots = [node for node, _ in found]
        self._shapes = [f.shape for _, f in found]
        self._active: set[Node] = set()
        for node in recording.graph.nodes:
            if node in search.found or any(edge[0] in self._active for edge in node.edges):
                self._active.add(node)
            node.call = None  # its arrays are not needed any more

    def cotangents(self, seeds: Array) -> Sequence[Array]:
        """g (R, N, *positions, d_out) of every use; weights get none, so this costs no weight gradients."""
        xp, shape = self._recording.primal.op.xp, tuple(self.outputs.shape)
        if len(seeds.shape) != len(shape) + 1 or tuple(seeds.shape[1:]) != shape:
            raise ShapeError(f"seeds have shape {tuple(seeds.shape)}, expected (R, {', '.join(map(str, shape))})")
        rest = (slice(None),) * len(shape)
        rows = []
        for r in range(seeds.shape[0]):
            graph, seed = self._recording.graph, seeds[(r, *rest)]
            rows.append(self._gather(graph.pull([seed], self._slots, self._active.__contains__)))
        if not rows:
            return [xp.zeros((0, *s), dtype=seeds.dtype, device=self._device) for s in self._shapes]
        return [xp.stack([row[i] for row in rows]) for i in range(len(self._slots))]

    def pull(self, seed: Array) -> Tree:
        """Jᵀ seed."""
        return self._recording.pull(self._recording.outputs.build([seed]))

    def pull_both(self, seed: Array) -> tuple[Tree, Sequence[Array]]:
        """The parameters' and the uses' cotangents, from one walk back."""
        recording = self._recording
        op = recording.primal.op
        seeds = recording.outputs.like(recording.outputs.build([seed]), op, "seed")
        pulled = recording.graph.pull(seeds, [*recording.leaves, *self._slots])
        rows = [op.xp.expand_dims(g, axis=0) for g in self._gather(pulled)]
        return recording.gather(pulled), rows

    @property
    def _device(self) -> Any:
        return self._recording.primal.op.device(self.outputs)

    def _gather(self, pulled: dict[Node, Array]) -> list[Array]:
        """Cotangents of all slots, zeros where there is none."""
        xp = self._recording.primal.op.xp
        return [
            g
            if (g := strip_constant(pulled.get(node))) is not None
            else xp.zeros(shape, dtype=self.outputs.dtype, device=self._device)
            for node, shape in zip(self._slots, self._shapes, strict=True)
        ]


def parameter_uses(f: Callable[[Tree, Any], Array], params: Tree, x: Any) -> RecordedUses:
    """Evaluate f(params, x) and report how each parameter entered.

    Recognised are ``a @ W`` and ``a @ W.T`` (also of a parameter reshaped to a matrix in row-major order), a vector
    added to such a product, and a vector added to any array along its last axis. Everything else is unrecognised.

    Args:
        f: a function that gives one array.
        params: plain arrays.
        x: a tree of plain arrays (wrapped as constants, so that they combine with the parameters in every library).

    Raises:
        DifferentiationError: if ``params`` or ``x`` belong to an outer derivative.
        ShapeError: if the output is not one array.
    """
    if any(type(strip_constant(a)) is Traced for a in (*tree_leaves(params), *tree_leaves(x))):
        raise DifferentiationError(
            "parameter_uses inside of a derivative: the structure of a model is a fact about one evaluation and has no "
            "derivative; call it with plain arrays, outside of jvp, vjp, gradient and hvp"
        )
    params = optree.tree_map(strip_constant, params)
    data = lift(x)
    recording = Recording(lambda p: f(p, data), params, inspect=True)
    outputs = recording.outputs
    if len(outputs.arrays) != 1 or not hasattr(outputs.arrays[0], "shape"):
        raise ShapeError(f"parameter_uses is for a function with one output array; this one has {len(outputs.arrays)}")
    return RecordedUses(recording)
