"""Linear algebra on params trees."""

from __future__ import annotations

from typing import Any

from ..backend import namespace
from ..trees import leaves, tree_map

Tree = Any


def dot(a: Tree, b: Tree) -> float:
    """⟨a, b⟩."""
    total: Any = 0.0
    for left, right in zip(leaves(a), leaves(b), strict=True):
        total = total + namespace(left).sum(left * right)
    return float(total)


def combine(alpha: float, a: Tree, beta: float, b: Tree) -> Tree:
    """alpha · a + beta · b."""
    return tree_map(lambda x, y: alpha * x + beta * y, a, b)


def scale(alpha: float, a: Tree) -> Tree:
    """alpha · a."""
    return tree_map(lambda x: alpha * x, a)


def add(a: Tree, b: Tree) -> Tree:
    """a + b."""
    return tree_map(lambda x, y: x + y, a, b)
