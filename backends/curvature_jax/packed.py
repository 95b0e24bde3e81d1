"""Trees as JAX sees them: leaves by our own flattening, so that a container need not be known to JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from curvature.trees import flatten, unflatten

Array = Any
Tree = Any


@jax.tree_util.register_pytree_node_class
class Packed:
    """A tree of arrays with its structure aside: what goes into and comes out of compiled functions."""

    def __init__(self, leaves: Any, structure: Any) -> None:
        self.leaves = leaves
        self.structure = structure

    @classmethod
    def of(cls, tree: Tree) -> Packed:
        """The arrays of ``tree`` and its structure."""
        return cls(*flatten(tree))

    @property
    def tree(self) -> Tree:
        """The tree itself."""
        return unflatten(self.structure, self.leaves)

    def tree_flatten(self) -> tuple[Any, Any]:
        """For JAX: the structure is static, what is compiled for one serves no other."""
        return tuple(self.leaves), self.structure

    @classmethod
    def tree_unflatten(cls, structure: Any, leaves: Any) -> Packed:
        """For JAX, which puts other things than arrays in their place now and then."""
        return cls(leaves, structure)


def packed(f: Callable[..., Tree]) -> Callable[..., Packed]:
    """``f`` on packed trees."""
    return lambda *arguments: Packed.of(f(*(argument.tree for argument in arguments)))
