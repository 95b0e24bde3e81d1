"""Derivatives inside transforms of torch.func (a mapped function that differentiates, say), where autograd is closed.

Everything is built from ``torch.func.vjp``, which nests in anything: torch allows no second level of dual numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optree
import torch

from .nesting import differentiating
from .support import supported

Tree = Any
Function = Callable[[Tree], Tree]


def _marked(f: Function) -> Function:
    def marked(params: Tree) -> Tree:
        with differentiating():
            return f(params)

    return marked


def _supported(pull: Callable[[Tree], Any], u: Tree) -> Tree:
    with supported():
        return pull(u)[0]


def vjp(f: Function, params: Tree) -> tuple[Tree, Function]:
    """(f(params), pull)."""
    outputs, pull = torch.func.vjp(_marked(f), params)[:2]
    return outputs, lambda u: _supported(pull, u)


def linearize(f: Function, params: Tree) -> tuple[Tree, Function, Function]:
    """(f(params), push, pull): the pull-back is linear, and its own pull-back is the push-forward."""
    outputs, pull = vjp(f, params)
    _, transpose = torch.func.vjp(pull, optree.tree_map(torch.zeros_like, outputs))[:2]
    return outputs, lambda v: _supported(transpose, v), pull


def value_and_gradient(f: Function, params: Tree) -> tuple[Tree, Tree]:
    """(f(params), ∇f(params))."""
    value, pull = vjp(f, params)
    return value, pull(torch.ones_like(value))


def hvp(f: Function, params: Tree, tangent: Tree) -> Tree:
    """∇²f · tangent: Hessians are symmetric, so pulling back through the gradient does."""
    return vjp(lambda p: value_and_gradient(f, p)[1], params)[1](tangent)
