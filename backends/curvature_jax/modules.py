"""Flax NNX and Equinox modules as models, and trained parameters back into them.

Parameters become nested dictionaries named as the module names its attributes: ``layers.0.kernel``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax

import curvature as cv

from .tree_nodes import key_name

Array = Any
Tree = Any


def is_known(module: Any) -> bool:
    """Whether ``module`` is a Flax NNX or an Equinox module."""
    return _is_nnx(module) or _is_equinox(module)


def adapted(module: Any, output: Any, by_example: bool | None = None) -> cv.Model:
    """The module as a model: see ``curvature_jax.as_model``."""
    parts = parts_of(module)
    maps = _is_equinox(module) if by_example is None else by_example

    def apply(params: Tree, x: Any) -> Array:
        def outputs_of(called: Any) -> Array:
            if maps:
                return jax.vmap(lambda one: cv.outputs_of(_call(called, one), output))(x)
            return cv.outputs_of(_call(called, x), output)

        def with_state(state: list[Array]) -> Array:
            called = parts.module(params)
            _set_random_state(called, state)
            return outputs_of(called)

        called = parts.module(params)
        before = _random_state(called)
        outputs = outputs_of(called)
        drawn = any(one is not other for one, other in zip(before, _random_state(called), strict=True))
        if drawn and _reaches(with_state, before):
            raise cv.ModelError(
                f"{parts.what} draws random numbers when it is called (dropout in training mode?); put it in evaluation mode: "
                f"module.eval()"
            )
        return outputs

    return cv.Model(apply, parts.params, bound_to=parts.what)


def updated(module: Any, params: Tree) -> Any:
    """The module with these parameters: see ``curvature_jax.update``."""
    parts = parts_of(module)
    cv.ParameterSpace.of(parts.params).flatten(params, what="params")
    if not _is_nnx(module):
        return parts.module(params)
    from flax import nnx

    nnx.update(module, parts.state(params))
    return module


def _call(module: Any, x: Any) -> Any:
    """Dictionaries of inputs are keyword arguments, tuples positional ones."""
    if isinstance(x, dict):
        return module(**x)
    return module(*x) if isinstance(x, tuple) else module(x)


def _random_state(module: Any) -> list[Array]:
    """Keys and counters of a Flax NNX module: those that it replaces, it draws from."""
    if not _is_nnx(module):
        return []
    from flax import nnx

    return jax.tree_util.tree_leaves(nnx.state(module, nnx.RngState))


def _set_random_state(module: Any, state: list[Array]) -> None:
    from flax import nnx

    structure = jax.tree_util.tree_structure(nnx.state(module, nnx.RngState))
    nnx.update(module, jax.tree_util.tree_unflatten(structure, state))


def _reaches(f: Callable[[list[Array]], Array], state: list[Array]) -> bool:
    """Whether f(state) depends on it: recurrent cells draw a key for a first carry of zeros, and do not use it."""
    program = jax.make_jaxpr(f)(state).jaxpr
    live = {id(value) for value in program.outvars}
    for step in reversed(program.eqns):
        if any(id(value) in live for value in step.outvars):
            live.update(map(id, step.invars))
    return any(id(value) in live for value in program.invars)


def _is_nnx(module: Any) -> bool:
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(module, nnx.Module)


def _is_equinox(module: Any) -> bool:
    equinox = sys.modules.get("equinox")
    return equinox is not None and isinstance(module, equinox.Module)


class _Parts:
    """A module taken apart, with the way back.

    Attributes:
        params: its parameters as nested dictionaries.
        what: what it is called.
    """

    def __init__(self, state: Any, rebuild: Callable[[Any], Any], what: str) -> None:
        found, self._structure = jax.tree_util.tree_flatten_with_path(state)
        if not found:
            raise cv.DataError(f"{what} has no parameters")
        self._paths = [_keys(path) for path, _ in found]
        self._rebuild = rebuild
        self.what = what
        self.params: Tree = _nested(self._paths, [leaf for _, leaf in found])

    def state(self, params: Tree) -> Any:
        """The parameters in the framework's own container."""
        return jax.tree_util.tree_unflatten(self._structure, [_at(params, path) for path in self._paths])

    def nested(self, leaves: Sequence[Array]) -> Tree:
        """Nested dictionaries like ``params`` from arrays in the order of the framework's own container."""
        return _nested(self._paths, leaves)

    def leaves(self, params: Tree) -> list[Array]:
        """The arrays of nested dictionaries like ``params`` in the order of the framework's own container."""
        return [_at(params, path) for path in self._paths]

    def module(self, params: Tree) -> Any:
        """A module with these parameters; nothing of the original is touched when it runs."""
        return self._rebuild(self.state(params))


def parts_of(module: Any) -> _Parts:
    """A Flax NNX or an Equinox module taken apart.

    Raises:
        UnsupportedError: if it is neither.
    """
    if _is_nnx(module):
        return _nnx_parts(module)
    if _is_equinox(module):
        return _equinox_parts(module)
    kind = type(module)
    raise cv.UnsupportedError(
        f"a {kind.__module__}.{kind.__qualname__} is neither a Flax NNX nor an Equinox module; pass (apply, params), for Flax "
        f"Linen for example (module.apply, variables)"
    )


def _nnx_parts(module: Any) -> _Parts:
    """``nnx.Param``s are the parameters; all other variables (statistics, counters, random state) stay as they are now."""
    from flax import nnx

    parts: Any = nnx.split(module, nnx.Param, ...)
    graph, params, rest = parts
    leaves, structure = jax.tree_util.tree_flatten(rest)

    def rebuild(state: Any) -> Any:
        # Containers made anew each time: what a call writes into its variables is gone with them.
        return nnx.merge(graph, state, jax.tree_util.tree_unflatten(structure, leaves))

    return _Parts(params, rebuild, f"the Flax NNX module {type(module).__name__}")


def _equinox_parts(module: Any) -> _Parts:
    """Floating JAX arrays are the parameters; everything else (integers, NumPy arrays, functions) stays as it is."""
    import equinox

    params, static = equinox.partition(module, lambda leaf: isinstance(leaf, jax.Array) and equinox.is_inexact_array(leaf))
    return _Parts(params, lambda state: equinox.combine(state, static), f"the Equinox module {type(module).__name__}")


def _keys(path: Sequence[Any]) -> tuple[Any, ...]:
    """Names and numbers along a path of JAX, without the box that NNX puts around each array."""
    keys = [key_name((step,)) for step in path]
    if len(keys) > 1 and keys[-1] in ("value", "raw_value"):
        keys.pop()
    return tuple(keys)


def _nested(paths: Sequence[tuple[Any, ...]], leaves: Sequence[Array]) -> Tree:
    """Nested dictionaries with the leaves at their paths."""
    root: dict[Any, Any] = {}
    for path, leaf in zip(paths, leaves, strict=True):
        node = root
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = leaf
    return root


def _at(tree: Tree, path: Sequence[Any]) -> Array:
    for key in path:
        tree = tree[key]
    return tree
