"""Where checks run: a backend and a dtype, and the approximation or likelihood under test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

import curvature as cv

from .failures import CheckFailure

Array = Any
Tree = Any

TOLERANCES = {"float64": 1e-10, "float32": 2e-4}
"""Relative deviation from a reference that is allowed, by dtype."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A backend, a dtype and what is tested on it.

    Attributes:
        backend: the backend on which everything is computed.
        dtype: "float64" or "float32".
        approximation: the method under test, if it is one.
        label: its name, or that of its class.
        bound: whether models are told to use this very backend object; otherwise the registry finds it by the arrays.
        slack: multiple of the suite's tolerance that is allowed.
    """

    backend: cv.Backend
    dtype: str = "float64"
    approximation: cv.Approximation | None = None
    label: str = ""
    bound: bool = False
    slack: float = 1.0
    _models: dict[Any, cv.Model] = field(repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.dtype not in TOLERANCES:
            raise ValueError(f"the suite knows the dtypes {', '.join(TOLERANCES)}, got {self.dtype!r}")

    @property
    def tolerance(self) -> float:
        """Relative deviation that is allowed."""
        return TOLERANCES[self.dtype] * self.slack

    def with_slack(self, factor: float) -> Setting:
        """The same setting, that allows ``factor`` times the suite's tolerance; what was compiled is shared."""
        return self if factor == self.slack else replace(self, slack=factor)

    @property
    def xp(self) -> Any:
        """Namespace of the backend."""
        return self.backend.xp

    @cached_property
    def device(self) -> Any:
        """Device on which the arrays of this setting live."""
        return getattr(self.asarray(np.zeros(1)), "device", None)

    # Arrays -------------------------------------------------------------------------------------------

    def asarray(self, values: Any) -> Array:
        """An array of the backend: floating values in the setting's dtype, others as they are."""
        array = np.asarray(values)
        # A copy: a backend that shares memory with it must not be able to change the scenario.
        return self.backend.asarray(array.copy(), dtype=self.dtype if array.dtype.kind == "f" else None)

    def tree(self, tree: Tree) -> Tree:
        """A tree of NumPy arrays on the backend."""
        return map_tree(self.asarray, tree)

    def numpy(self, x: Any) -> np.ndarray:
        """A copy on the host."""
        return np.array(self.backend.to_numpy(x)) if hasattr(x, "shape") else np.asarray(x)

    def flat(self, tree: Tree) -> np.ndarray:
        """A tree of arrays of the backend as one flat vector on the host."""
        return np.concatenate([np.ravel(self.numpy(leaf)) for leaf in leaves(tree)])

    def normal(self, *shape: int, seed: int = 0) -> np.ndarray:
        """Normal numbers on the host, in float64."""
        return np.random.default_rng([seed, *shape]).standard_normal(shape)

    def require_own(self, x: Any, what: str) -> np.ndarray:
        """``x`` on the host, after making sure that it is an array of this backend, dtype and device."""
        if not self.backend.owns(x):
            kind = f"{type(x).__module__}.{type(x).__qualname__}"
            raise CheckFailure(what, f"a {kind}", formula=f"an array of backend {self.backend.name!r}")
        if self.xp.isdtype(x.dtype, "real floating") and x.dtype != getattr(self.xp, self.dtype):
            raise CheckFailure(
                what,
                f"dtype {x.dtype}",
                formula=f"{self.dtype}, the dtype of the parameters and data",
                causes="an array made without dtype=, a NumPy scalar, a cast on the way (float32 stays float32)",
            )
        device = getattr(x, "device", None)
        if str(device) != str(self.device):
            raise CheckFailure(
                what,
                f"device {device}",
                formula=f"{self.device}, the device of the parameters and data",
                causes="an array made without device=",
            )
        return self.numpy(x)

    # Models -------------------------------------------------------------------------------------------

    def model(self, apply: Callable[..., Array], params: Tree) -> cv.Model:
        """A model whose derivatives are those of the backend under test.

        Models of one function and of the same shapes share what a backend compiled: compiling is most of a run on JAX.
        """
        key = (apply, tuple(tuple(leaf.shape) for leaf in leaves(params)))
        if key not in self._models:
            self._models[key] = cv.Model(apply, params, backend=self.backend if self.bound else None)
        return self._models[key].with_params(params)


def leaves(tree: Tree) -> list[Any]:
    """The arrays of a tree in flat order: sequences in order, dictionaries by sorted key."""
    if tree is None:
        return []
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def map_tree(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """``function`` of every array of a tree."""
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {key: map_tree(function, part) for key, part in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(map_tree(function, part) for part in tree)
    return function(tree)
