"""JAX's own containers made known to optree, so that trees of parameters may be built of them."""

from __future__ import annotations

from typing import Any

import jax
import optree

from curvature.trees import NAMESPACE


def register(kind: type, node: Any) -> bool | None:
    """Register the class of ``node`` with optree if JAX knows it as a container; answers whether it does."""
    if isinstance(node, jax.Array) or not _is_container(node):
        return None
    optree.register_pytree_node(kind, _flatten, _unflatten, namespace=NAMESPACE)
    return True


def _is_container(node: Any) -> bool:
    return not jax.tree_util.all_leaves([node])


def _flatten(node: Any) -> tuple[list[Any], Any, tuple[Any, ...]]:
    """The children of one level, JAX's structure to put them back, and their names."""
    children, structure = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    return [child for _, child in children], structure, tuple(key_name(path) for path, _ in children)


def _unflatten(structure: Any, children: Any) -> Any:
    return jax.tree_util.tree_unflatten(structure, children)


def key_name(path: Any) -> Any:
    """The name (or number) of one step, or of several joined, in a path of JAX."""
    steps = [_step_name(step) for step in path]
    return steps[0] if len(steps) == 1 else ".".join(map(str, steps))


def _step_name(step: Any) -> Any:
    for attribute in ("name", "key", "idx"):
        if hasattr(step, attribute):
            return getattr(step, attribute)
    return str(step)
