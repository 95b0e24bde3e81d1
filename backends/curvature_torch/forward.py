"""Forward mode by dual numbers, with the products that torch would compute with zeros left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optree
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

from .nesting import detached, differentiating, has_tangent, inside, recording
from .reverse import gradients, matching_leaves

Tree = Any
Function = Callable[[Tree], Tree]

_LINEAR = torch.nn.functional.linear
_PRODUCTS = frozenset(
    {torch.matmul, torch.mm, torch.Tensor.matmul, torch.Tensor.mm, torch.Tensor.__matmul__, torch.Tensor.__rmatmul__}
)


class ConstantInputs(TorchFunctionMode):
    """Products whose first factor has no tangent: ``(x W)˙ = x Ẇ``.

    Torch would multiply a matrix of zeros by W as well, which for the first (often the largest) layer of a network
    costs a third more, in both passes.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not kwargs:
            if func in _PRODUCTS and len(args) == 2:
                x, w = (args[1], args[0]) if func is torch.Tensor.__rmatmul__ else args
                if _constant_and_dual(x, w):
                    primal, tangent = forward_ad.unpack_dual(w)
                    return forward_ad.make_dual(torch.matmul(x, primal), torch.matmul(x, tangent))
            elif func is _LINEAR and _constant_and_dual(args[0], args[1]):
                return _linear(*args)
        return func(*args, **(kwargs or {}))


def _constant_and_dual(x: Any, w: Any) -> bool:
    return isinstance(x, Tensor) and isinstance(w, Tensor) and not has_tangent(x) and has_tangent(w)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    w, w_tangent = forward_ad.unpack_dual(weight)
    if bias is None:
        return forward_ad.make_dual(_LINEAR(x, w), _LINEAR(x, w_tangent))
    b, b_tangent = forward_ad.unpack_dual(bias)  # the tangent is None where the bias is a constant
    return forward_ad.make_dual(_LINEAR(x, w, b), _LINEAR(x, w_tangent, b_tangent))


@contextmanager
def _dual_numbers() -> Iterator[None]:
    with forward_ad.dual_level(), ConstantInputs(), differentiating():
        yield


def _split(duals: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    pairs = [forward_ad.unpack_dual(y) for y in duals]
    return [p.primal for p in pairs], [torch.zeros_like(p.primal) if p.tangent is None else p.tangent for p in pairs]


def jvp(f: Function, params: Tree, tangent: Tree) -> tuple[Tree, Tree]:
    """(f(params), J tangent), nothing recorded."""
    arrays, treespec = optree.tree_flatten(params)
    tangents = matching_leaves(tangent, treespec, "the tangent", "the parameters")
    with torch.inference_mode(False), torch.no_grad(), _dual_numbers():
        duals = [forward_ad.make_dual(detached(a), v) for a, v in zip(arrays, tangents, strict=True)]
        outputs, spec = optree.tree_flatten(f(optree.tree_unflatten(treespec, duals)))
        values, pushed = _split(outputs)
    # Functions nested in f may have recorded.
    values, pushed = [y.detach() for y in values], [t.detach() for t in pushed]
    return optree.tree_unflatten(spec, values), optree.tree_unflatten(spec, pushed)


class Dual:
    """One evaluation of ``f`` that gives values and tangents, both recorded.

    Attributes:
        inputs: leaves of the parameters.
        outputs, pushed: leaves of f(params) and of J tangent.
    """

    def __init__(self, f: Function, params: Tree, tangent: Tree) -> None:
        arrays, self.treespec = optree.tree_flatten(params)
        tangents = matching_leaves(tangent, self.treespec, "the tangent", "the parameters")
        with recording(), _dual_numbers():
            self.inputs = [detached(a).requires_grad_() for a in arrays]
            duals = [forward_ad.make_dual(a, v) for a, v in zip(self.inputs, tangents, strict=True)]
            outputs, self.output_spec = optree.tree_flatten(f(optree.tree_unflatten(self.treespec, duals)))
            self.outputs, self.pushed = _split(outputs)


def jvp_and_pull(f: Function, params: Tree, tangent: Tree) -> tuple[Tree, Tree, Function]:
    """(f(params), J tangent, pull) from one forward pass."""
    dual = Dual(f, params, tangent)
    inputs, outputs, treespec, spec = dual.inputs, dual.outputs, dual.treespec, dual.output_spec
    values = optree.tree_unflatten(spec, [y.detach() for y in outputs])
    pushed = optree.tree_unflatten(spec, [t.detach() for t in dual.pushed])

    def pull(cotangent: Tree) -> Tree:
        seeds = matching_leaves(cotangent, spec, "the cotangent", "the outputs")
        return optree.tree_unflatten(treespec, gradients(outputs, inputs, seeds, keep=False, create=inside()))

    return values, pushed, pull


def hvp(f: Callable[[Tree], Tensor], params: Tree, tangent: Tree) -> Tree:
    """∇²f · tangent as the gradient of the directional derivative."""
    dual = Dual(f, params, tangent)
    return optree.tree_unflatten(dual.treespec, gradients(dual.pushed, dual.inputs, None, keep=False))
