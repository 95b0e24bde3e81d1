"""Reverse mode, and what follows from it by differentiating twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optree
import torch
from torch import Tensor

import curvature as cv

from .nesting import Place, detached, differentiating, inside, recording, variables
from .support import refuse_wrong_hessians, require_second_derivatives, supported

Tree = Any
Function = Callable[[Tree], Tree]


class Tape:
    """One recorded evaluation of ``f``, from which gradients are pulled.

    Args:
        once: nothing but one gradient will be taken, and no derivative of it.

    Attributes:
        inputs: leaves of the parameters.
        outputs: leaves of f(params), with their history.
    """

    def __init__(self, f: Function, params: Tree, where: Place, *, once: bool = False) -> None:
        arrays, self.treespec = optree.tree_flatten(params)
        self.nested = where is Place.NESTED
        self.once = once
        with recording(), differentiating(once=once):
            self.inputs = variables(arrays, self.nested)
            self.outputs, self.output_spec = optree.tree_flatten(f(optree.tree_unflatten(self.treespec, self.inputs)))

    def values(self) -> Tree:
        """f(params); free of history unless nested."""
        outputs = self.outputs if self.nested else [y.detach() for y in self.outputs]
        return optree.tree_unflatten(self.output_spec, outputs)

    def seeds(self, tree: Tree) -> list[Tensor]:
        """Leaves of a tree like the outputs."""
        return matching_leaves(tree, self.output_spec, "the cotangent", "the outputs")

    def pull(self, seeds: Sequence[Tensor] | None, *, keep: bool) -> list[Tensor]:
        """Jᵀ seeds (None for scalar outputs: the gradient); ``keep`` if it will be pulled again."""
        return gradients(self.outputs, self.inputs, seeds, keep=keep, create=self.nested or inside(), once=self.once)

    def tree(self, arrays: Sequence[Tensor]) -> Tree:
        """A tree like the parameters."""
        return optree.tree_unflatten(self.treespec, arrays)


def matching_leaves(tree: Tree, treespec: Any, what: str, like: str) -> list[Tensor]:
    """Leaves of a tree of the given structure, detached unless another derivative is being taken around us."""
    leaves, spec = optree.tree_flatten(tree)
    if spec != treespec:
        raise cv.ShapeError(f"{what} has the structure {spec}, {like} have {treespec}")
    return list(leaves) if inside() else [detached(a) for a in leaves]


def gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    seeds: Sequence[Tensor] | None,
    *,
    keep: bool,
    create: bool = False,
    once: bool = False,
) -> list[Tensor]:
    """Gradients with zeros for inputs that do not enter and for outputs that depend on none of them."""
    live = [i for i, y in enumerate(outputs) if y.requires_grad]
    if not live:
        return [torch.zeros_like(x) for x in inputs]
    if create:
        require_second_derivatives(outputs)
    with recording(), supported(once=once):
        found = torch.autograd.grad(
            [outputs[i] for i in live],
            inputs,
            None if seeds is None else [seeds[i] for i in live],
            retain_graph=keep or create,
            create_graph=create,
            materialize_grads=True,
            allow_unused=True,
        )
    return [g if g.layout is torch.strided else g.to_dense() for g in found]  # sparse ones: nn.Embedding(sparse=True)


def vjp(f: Function, params: Tree, where: Place) -> tuple[Tree, Function]:
    """(f(params), pull). The pull-back is the caller's to differentiate or to map, so f must allow more than one pass."""
    tape = Tape(f, params, where)
    return tape.values(), lambda u: tape.tree(tape.pull(tape.seeds(u), keep=True))


def value_and_gradient(f: Callable[[Tree], Tensor], params: Tree, where: Place) -> tuple[Tensor, Tree]:
    """(f(params), ∇f(params)) of a scalar function.

    At the top no other derivative can follow: attention may keep its fused kernel, which never stores the scores, and
    the value is then to the last bit that of f itself. (Other methods may differ from it by rounding.)
    """
    tape = Tape(f, params, where, once=where is Place.TOP)
    return tape.values(), tape.tree(tape.pull(None, keep=False))


class Linearization:
    """f at a point with both of its linear maps, each a pass through a recorded graph.

    The pull-back g(u) = Jᵀ u is linear in u, so its own pull-back is J: one recorded backward pass with any u serves
    all later pushes, none of which repeats the forward pass.
    """

    def __init__(self, f: Function, params: Tree, where: Place) -> None:
        self.tape = tape = Tape(f, params, where)
        with recording():
            self._probes = [torch.zeros_like(y.detach()).requires_grad_() for y in tape.outputs]
        self._pulled = gradients(tape.outputs, tape.inputs, self._probes, keep=True, create=True)

    def push(self, tangent: Tree) -> Tree:
        """J tangent."""
        tape = self.tape
        v = matching_leaves(tangent, tape.treespec, "the tangent", "the parameters")
        pushed = gradients(self._pulled, self._probes, v, keep=True, create=tape.nested or inside())
        return optree.tree_unflatten(tape.output_spec, pushed)

    def pull(self, cotangent: Tree) -> Tree:
        """Jᵀ cotangent."""
        return self.tape.tree(self.tape.pull(self.tape.seeds(cotangent), keep=True))


def hvp(f: Callable[[Tree], Tensor], params: Tree, tangent: Tree, where: Place) -> Tree:
    """∇²f · tangent by differentiating the gradient once more.

    The gradient of the directional derivative by dual numbers would take fewer operations (2.2 gradients instead of
    2.5 on a wide perceptron), but torch's rules for tangents are not all differentiable, and some are wrongly so
    without a word (layer_norm, logdet, solve). Twice reverse is what torch tests.
    """
    return hessian_map(f, params, where, keep=False)(tangent)


def hessian_map(f: Callable[[Tree], Tensor], params: Tree, where: Place, *, keep: bool = True) -> Callable[[Tree], Tree]:
    """v ↦ ∇²f · v, each product the recorded gradient differentiated along v; ``keep`` if there will be more than one."""
    tape = Tape(f, params, where)
    refuse_wrong_hessians(tape.outputs)
    gradient = gradients(tape.outputs, tape.inputs, None, keep=True, create=True)

    def product(tangent: Tree) -> Tree:
        v = matching_leaves(tangent, tape.treespec, "the tangent", "the parameters")
        return tape.tree(gradients(gradient, tape.inputs, v, keep=keep, create=tape.nested))

    return product
