"""Functions whose arrays are in view, so that a backend with a compiler compiles each of them once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableMapping
from dataclasses import dataclass
from typing import Any

Tree = Any


@dataclass(frozen=True, eq=False)
class Keyed:
    """``function(params, data)`` that depends on nothing else which changes.

    A backend may compile it once for each ``key`` and shapes, and keep what it made in ``compiled``.

    Attributes:
        function: from two trees of arrays to a tree of arrays.
        key: of two functions with one ``compiled``, equal keys say that they compute the same.
        compiled: a place for a backend to keep what it compiled; it lives as long as the model.
    """

    function: Callable[[Tree, Tree], Tree]
    key: Hashable
    compiled: MutableMapping[Any, Any]

    def __call__(self, params: Tree, data: Tree) -> Tree:
        return self.function(params, data)

    def on(self, data: Tree) -> Closure:
        """The function of the parameters alone, on given data."""
        return Closure(self, data)


@dataclass(frozen=True, eq=False)
class Closure:
    """``params -> function(params, data)``: what derivatives are taken of.

    Any backend may call it like a plain function of the parameters; one that compiles passes ``data`` as an argument, so
    that other data of the same shapes needs no new compilation.
    """

    keyed: Keyed
    data: Tree

    def __call__(self, params: Tree) -> Tree:
        return self.keyed.function(params, self.data)
