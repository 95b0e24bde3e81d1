"""What an Optax loop trains, and its problem: a function of parameters and inputs, whatever container they come in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax

import curvature as cv

from .modules import is_known, parts_of

Array = Any
Tree = Any


class Trainee:
    """A model without its parameters, which the caller keeps and hands over at every step.

    What is known of a model from one step to the next (its layers, what was compiled for it) is kept here, and no array of a
    step: they may belong to the caller's program that is being compiled.

    Args:
        model: ``apply(params, x) -> outputs``, a ``curvature.Model``, a Flax Linen, Flax NNX or Equinox module.
        likelihood: p(y | outputs).
    """

    def __init__(self, model: Any, likelihood: cv.Likelihood) -> None:
        given: Any = likelihood
        if not isinstance(given, cv.Likelihood):
            raise cv.DataError(f"a likelihood is an instance such as curvature.Categorical(), got {given!r}")
        self.likelihood = likelihood
        self._parts = parts_of(model) if is_known(model) else None
        self._known: dict[Any, cv.Model] = {}
        self._model: cv.Model | None = None
        if isinstance(model, cv.Model):
            self._model = model
        elif self._parts is not None:
            self._model = cv.as_model(model)
        elif _is_linen(model):
            self._apply: Callable[[Tree, Any], Array] = _linen_apply(model)
        elif callable(model):
            self._apply = model
        else:
            raise cv.DataError(
                f"the model is a function apply(params, x) -> outputs, a curvature.Model, a Flax or an Equinox module, got a "
                f"{type(model).__name__}"
            )

    def problem(self, params: Tree, data: Any) -> cv.Problem:
        """Model and likelihood at the caller's parameters, on a batch ``(x, y)`` or ``(x, y, weights)``."""
        inner = self.inside(params)
        return cv.Problem(self._model_like(inner).with_params(inner), self.likelihood, data)

    def inside(self, tree: Tree) -> Tree:
        """A tree like the caller's parameters, in the container that the model takes.

        Parameters of a module may come as nested dictionaries (``curvature.as_model(module).params``) or as the module's
        framework splits them off (``nnx.split(module, nnx.Param)``, ``equinox.partition(module, equinox.is_inexact_array)``).

        Raises:
            DataError: if they are neither.
        """
        parts = self._parts
        if parts is None or structure_of(tree) == structure_of(parts.params):
            return tree
        leaves = jax.tree_util.tree_leaves(tree)
        expected = [tuple(leaf.shape) for leaf in parts.leaves(parts.params)]
        if [tuple(leaf.shape) for leaf in leaves] != expected:
            raise cv.DataError(
                f"these are not the parameters of {parts.what}: {len(leaves)} arrays, and it has {len(expected)}, or of other "
                f"shapes; pass what nnx.split(module, nnx.Param, ...) or equinox.partition(module, equinox.is_inexact_array) "
                f"gives, or curvature.as_model(module).params"
            )
        return parts.nested(leaves)

    def outside(self, tree: Tree, like: Tree) -> Tree:
        """The way back from ``inside``, to the container of ``like``."""
        if self._parts is None or structure_of(like) == structure_of(self._parts.params):
            return tree
        return jax.tree_util.tree_unflatten(structure_of(like), self._parts.leaves(tree))

    def _model_like(self, params: Tree) -> cv.Model:
        if self._model is not None:
            return self._model
        leaves, structure = jax.tree_util.tree_flatten(params)
        key = structure, tuple((tuple(leaf.shape), str(leaf.dtype)) for leaf in leaves)
        if key not in self._known:
            model = cv.Model(self._apply, params)
            model.params = None  # what is kept outlives the program that these arrays may belong to
            self._known[key] = model
        return self._known[key]


def structure_of(tree: Tree) -> Any:
    """The containers of a tree, which can be compared."""
    return jax.tree_util.tree_structure(tree)


def _is_linen(model: Any) -> bool:
    linen = sys.modules.get("flax.linen")
    return linen is not None and isinstance(model, linen.Module)


def _linen_apply(module: Any) -> Callable[[Tree, Any], Array]:
    """``module.apply`` on ``variables["params"]``, or on variables of which there are no others."""

    def apply(params: Tree, x: Any) -> Array:
        variables = params if set(params) == {"params"} else {"params": params}
        return module.apply(variables, x)

    return apply
