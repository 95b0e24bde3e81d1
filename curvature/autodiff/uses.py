"""How the parameters of a plain function enter it, read off the recorded graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optree

from ..backend.uses import ParameterUses
from ..errors import DifferentiationError, ShapeError
from ..trees import leaves as tree_leaves
from ..trees import path_name
from .search import Search
from .tape import Node
from .traced import Traced, lift, strip_constant
from .transforms import Recording

Array = Any
Tree = Any


class RecordedUses(ParameterUses):
    """Uses of the parameters in one recorded evaluation, with their output cotangents."""

    def __init__(self, recording: Recording) -> None:
        names = [path_name(path) for path in recording.primal.treespec.paths()]
        self.outputs = recording.outputs.arrays[0]
        search = Search(recording, names, int(self.outputs.shape[0]) if self.outputs.shape else 1)
        found = sorted(search.found.items(), key=lambda item: item[0].index)
        self.uses = tuple(f.use for _, f in found)
        self.unrecognised = search.unrecognised
        self.unused = search.unused
        self._recording = recording
        self._slots = [node for node, _ in found]
        self._shapes = [f.shape for _, f in found]
        self._arrange = [f.arrange for _, f in found]
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
            none = [xp.zeros((0, *s), dtype=seeds.dtype, device=self._device) for s in self._shapes]
            return [arrange(g) for arrange, g in zip(self._arrange, none, strict=True)]
        return [arrange(xp.stack([row[i] for row in rows])) for i, arrange in enumerate(self._arrange)]

    def pull(self, seed: Array) -> Tree:
        """Jᵀ seed."""
        return self._recording.pull(self._recording.outputs.build([seed]))

    def pull_both(self, seed: Array) -> tuple[Tree, Sequence[Array]]:
        """The parameters' and the uses' cotangents, from one walk back."""
        recording = self._recording
        op = recording.primal.op
        seeds = recording.outputs.like(recording.outputs.build([seed]), op, "seed")
        pulled = recording.graph.pull(seeds, [*recording.leaves, *self._slots])
        alone = (op.xp.expand_dims(g, axis=0) for g in self._gather(pulled))
        return recording.gather(pulled), [arrange(g) for arrange, g in zip(self._arrange, alone, strict=True)]

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

    Recognised are ``a @ W`` and ``a @ W.T`` (also of a parameter reshaped to a matrix in row-major order, and of a stack of
    matrices, one for each group of inputs), rows taken from a table, products element by element and sums with anything
    that has the axis of examples, a vector that is repeated for every example, and all of these with a part of the
    parameter (slices, gathers) in its place. Everything else is unrecognised.

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
