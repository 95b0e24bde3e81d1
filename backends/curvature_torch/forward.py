"""Forward mode by dual numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import optree
import torch
from torch import Tensor
from torch.autograd import forward_ad

from .constants import Constants
from .nesting import detached, differentiating, inside, recording
from .reverse import gradients, matching_leaves

Tree = Any
Function = Callable[[Tree], Tree]


@cache
def _prepare() -> None:
    """Let torch set up its forward mode, with deprecated parts of its own whose warnings are not for our callers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with forward_ad.dual_level():
            forward_ad.make_dual(torch.zeros(1), torch.zeros(1))


@contextmanager
def _dual_numbers() -> Iterator[None]:
    _prepare()
    with forward_ad.dual_level(), Constants(), differentiating():
        yield


def _evaluate(
    f: Function, primals: Sequence[Tensor], tangents: Sequence[Tensor], treespec: Any
) -> tuple[list[Tensor], list[Tensor], Any]:
    """Leaves of f and of its derivative, and the structure of both."""
    with _dual_numbers():
        duals = [forward_ad.make_dual(a, v) for a, v in zip(primals, tangents, strict=True)]
        outputs, spec = optree.tree_flatten(f(optree.tree_unflatten(treespec, duals)))
        pairs = [forward_ad.unpack_dual(y) for y in outputs]
        pushed = [torch.zeros_like(p.primal) if p.tangent is None else p.tangent for p in pairs]
    # Tangents are recorded wherever primals are, but torch does not promise that this is right: it may be used for
    # nothing (layer_norm's second derivative, for one, comes out wrong this way).
    return [p.primal for p in pairs], [t.detach() for t in pushed], spec


def jvp(f: Function, params: Tree, tangent: Tree) -> tuple[Tree, Tree]:
    """(f(params), J tangent), nothing recorded."""
    arrays, treespec = optree.tree_flatten(params)
    tangents = matching_leaves(tangent, treespec, "the tangent", "the parameters")
    with torch.inference_mode(False), torch.no_grad():
        values, pushed, spec = _evaluate(f, [detached(a) for a in arrays], tangents, treespec)
    values = [y.detach() for y in values]  # what is nested in f may have recorded
    return optree.tree_unflatten(spec, values), optree.tree_unflatten(spec, pushed)


def jvp_and_pull(f: Function, params: Tree, tangent: Tree) -> tuple[Tree, Tree, Function]:
    """(f(params), J tangent, pull) from one forward pass."""
    arrays, treespec = optree.tree_flatten(params)
    tangents = matching_leaves(tangent, treespec, "the tangent", "the parameters")
    with recording():
        inputs = [detached(a).requires_grad_() for a in arrays]
        outputs, pushed, spec = _evaluate(f, inputs, tangents, treespec)

    def pull(cotangent: Tree) -> Tree:
        seeds = matching_leaves(cotangent, spec, "the cotangent", "the outputs")
        return optree.tree_unflatten(treespec, gradients(outputs, inputs, seeds, keep=False, create=inside()))

    values = [y.detach() for y in outputs]
    return optree.tree_unflatten(spec, values), optree.tree_unflatten(spec, pushed), pull
