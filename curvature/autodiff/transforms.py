"""Derivatives of functions from trees of arrays to trees of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optree

from ..errors import DifferentiationError, ShapeError
from ..trees import path_name
from .namespace import Operations, common_operations
from .tape import ForwardTrace, Graph, Node, ReverseTrace, refuse_leaked
from .traced import Traced, constant, strip_constant

Array = Any
Tree = Any
Function = Callable[[Tree], Tree]
Push = Callable[[Tree], Tree]
Pull = Callable[[Tree], Tree]


class Leaves:
    """The arrays of a tree, with what is needed to check and build trees like it."""

    def __init__(self, tree: Tree) -> None:
        self.arrays, self.treespec = optree.tree_flatten(tree)

    def like(self, tree: Tree, op: Operations, what: str) -> list[Array]:
        """Leaves of a tree of this structure, shapes and dtypes.

        Raises:
            ShapeError: naming the first leaf that does not fit.
        """
        arrays, treespec = optree.tree_flatten(tree)
        if treespec != self.treespec:
            raise ShapeError(f"the {what} has the structure {treespec}, expected {self.treespec}")
        result = []
        for i, (array, model) in enumerate(zip(arrays, self.arrays, strict=True)):
            shape = getattr(array, "shape", None)
            if shape is None or tuple(shape) != tuple(model.shape):
                name = path_name(self.treespec.paths()[i])
                raise ShapeError(f"the {what} of {name!r} has shape {shape}, expected {tuple(model.shape)}")
            result.append(array if array.dtype == model.dtype else op.ns.astype(array, model.dtype))
        return result

    def build(self, arrays: Sequence[Array]) -> Tree:
        """A tree of this structure."""
        return optree.tree_unflatten(self.treespec, arrays)


def _refuse_outlived(arrays: Sequence[Array], what: str) -> None:
    """Refuse arrays of a transform that has ended."""
    for x in arrays:
        if type(x) is Traced and x._trace.ended:
            refuse_leaked(what)


class Primal(Leaves):
    """The point at which a function is differentiated."""

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        if not self.arrays:
            raise ShapeError("the tree has no arrays to differentiate with respect to")
        self.op = common_operations(*self.arrays)
        _refuse_outlived(self.arrays, "differentiation at ")
        # What the caller passed traced comes back traced, so that strict libraries can combine the two.
        self.traced = any(type(x) is Traced for x in self.arrays)
        self.arrays = [strip_constant(x) for x in self.arrays]
        for i, x in enumerate(self.arrays):
            if not hasattr(x, "dtype") or not self.op.is_floating(x):
                name = path_name(self.treespec.paths()[i])
                kind = getattr(x, "dtype", type(x).__name__)
                raise DifferentiationError(f"{name!r} is of {kind}: only real floating-point arrays have derivatives")

    def finish(self, x: Array) -> Array:
        """A result as the caller gets it."""
        return constant(x, self.op) if self.traced and hasattr(x, "dtype") else strip_constant(x)

    def zeros(self, like: Array) -> Array:
        """Zeros of the shape and dtype of ``like``."""
        return self.op.xp.zeros(tuple(like.shape), dtype=like.dtype, device=self.op.device(like))


class Recording:
    """One evaluation of a function, recorded: it can be pushed through and pulled back any number of times."""

    def __init__(self, f: Function, primal: Tree, *, inspect: bool = False) -> None:
        self.primal = Primal(primal)
        op = self.primal.op
        trace = ReverseTrace(inspect=inspect)
        inputs = [trace.leaf(x, op) for x in self.primal.arrays]
        self.leaves: list[Node] = [x._node for x in inputs]
        with trace:
            outputs = Leaves(f(self.primal.build(inputs)))
        nodes = []
        for i, y in enumerate(outputs.arrays):
            mine = type(y) is Traced and y._trace is trace
            if not mine:
                _refuse_outlived([y], "the function returns ")
            nodes.append(y._node if mine else None)
            outputs.arrays[i] = y._value if mine else strip_constant(y)
        self.outputs = outputs
        self.graph = Graph(nodes, op)

    @property
    def value(self) -> Tree:
        """f(primal)."""
        return self.outputs.build([self.primal.finish(y) for y in self.outputs.arrays])

    def push(self, tangent: Tree) -> Tree:
        """J tangent."""
        primal = self.primal
        tangents = primal.like(tangent, primal.op, "tangent")
        pushed = self.graph.push(dict(zip(self.leaves, tangents, strict=True)))
        return self.outputs.build(
            [primal.finish(primal.zeros(y) if t is None else t) for y, t in zip(self.outputs.arrays, pushed, strict=True)]
        )

    def pull(self, cotangent: Tree) -> Tree:
        """Jᵀ cotangent."""
        cotangents = self.outputs.like(cotangent, self.primal.op, "cotangent")
        return self.gather(self.graph.pull(cotangents, self.leaves))

    def gather(self, pulled: dict[Node, Array]) -> Tree:
        """The tree of the leaves' cotangents."""
        primal = self.primal
        return primal.build(
            [
                primal.finish(primal.zeros(x) if (g := pulled.get(node)) is None else g)
                for node, x in zip(self.leaves, primal.arrays, strict=True)
            ]
        )


def linearize(f: Function, primal: Tree) -> tuple[Tree, Push, Pull]:
    """(f(primal), push, pull) with push(v) = J v and pull(u) = Jᵀ u.

    What the evaluation left behind is kept, so that neither repeats it however often they are called. Both can
    themselves be differentiated.

    Args:
        f: a function of one tree of arrays, giving a tree of arrays, written in the Array API.
        primal: real floating-point arrays of one library; they may be traced by an outer derivative.

    Raises:
        DifferentiationError: if ``f`` uses a function that has no derivative rule, or decides on values in Python.
    """
    recording = Recording(f, primal)
    return recording.value, recording.push, recording.pull


def vjp(f: Function, primal: Tree) -> tuple[Tree, Pull]:
    """(f(primal), pull) with pull(u) = Jᵀ u, a tree like ``primal``; ``pull`` may be called several times."""
    recording = Recording(f, primal)
    return recording.value, recording.pull


def jvp(f: Function, primal: Tree, tangent: Tree) -> tuple[Tree, Tree]:
    """(f(primal), J tangent), carried along with the evaluation: nothing is kept."""
    point = Primal(primal)
    tangents = point.like(tangent, point.op, "tangent")
    trace = ForwardTrace()
    inputs = [trace.leaf(x, t, point.op) for x, t in zip(point.arrays, tangents, strict=True)]
    with trace:
        outputs = Leaves(f(point.build(inputs)))
    values, pushed = [], []
    for y in outputs.arrays:
        if type(y) is Traced and y._trace is trace:
            values.append(point.finish(y._value))
            pushed.append(point.finish(y._node))
        else:
            _refuse_outlived([y], "the function returns ")
            values.append(point.finish(strip_constant(y)))
            pushed.append(point.finish(point.zeros(y)))
    return outputs.build(values), outputs.build(pushed)


def jvp_and_pull(f: Function, primal: Tree, tangent: Tree) -> tuple[Tree, Tree, Pull]:
    """(f(primal), J tangent, pull) from one evaluation."""
    recording = Recording(f, primal)
    return recording.value, recording.push(tangent), recording.pull


def value_and_gradient(f: Callable[[Tree], Array], primal: Tree) -> tuple[Array, Tree]:
    """(f(primal), ∇f(primal)) of a function whose value is one number, an array of shape ().

    Raises:
        ShapeError: if it is not.
    """
    recording = Recording(f, primal)
    outputs = recording.outputs
    if len(outputs.arrays) != 1 or getattr(outputs.arrays[0], "shape", None) != ():
        shapes = [tuple(getattr(y, "shape", ())) for y in outputs.arrays]
        raise ShapeError(f"a gradient is of a function with one output of shape (); this one has {shapes}")
    y = outputs.arrays[0]
    one = recording.primal.op.xp.ones((), dtype=y.dtype, device=recording.primal.op.device(y))
    return recording.value, recording.gather(recording.graph.pull([one], recording.leaves))


def gradient(f: Callable[[Tree], Array]) -> Callable[[Tree], Tree]:
    """The function x -> ∇f(x)."""

    def of(primal: Tree) -> Tree:
        return value_and_gradient(f, primal)[1]

    return of


def hvp(f: Callable[[Tree], Array], primal: Tree, tangent: Tree) -> Tree:
    """∇²f(primal) · tangent, forward over reverse."""
    return jvp(gradient(f), primal, tangent)[1]
