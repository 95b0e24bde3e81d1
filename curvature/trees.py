"""Trees of arrays and the one flat order: leaves in tree order, each raveled in row-major order.

Sequences keep their order and dictionaries are sorted by key (the rule of optree and JAX), so a flat
vector means the same on every backend. A leaf is named by its path: ``layers.0.weight``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import optree

from .errors import ShapeError

Array = Any
Tree = Any

NAMESPACE = "curvature"
"""optree namespace in which a plugin registers its framework's own containers (see ``curvature_register_tree_node``)."""


def path_name(path: Sequence[Any]) -> str:
    """The dotted name of a path: ``("layers", 0, "weight")`` is ``layers.0.weight``.

    A tree that is one bare array has the name ``"parameters"``.
    """
    return ".".join(str(entry) for entry in path) or "parameters"


def count(array: Array) -> int:
    """Number of entries of an array (``array.size`` is a method in PyTorch)."""
    return math.prod(int(n) for n in array.shape)


def flatten(tree: Tree) -> tuple[list[Array], Any]:
    """(leaves in flat order, the optree structure)."""
    arrays, treespec = optree.tree_flatten(tree, namespace=NAMESPACE)
    return list(arrays), treespec


def unflatten(treespec: Any, arrays: Iterable[Array]) -> Tree:
    """The tree of that structure with the given leaves."""
    return optree.tree_unflatten(treespec, arrays)


def leaves(tree: Tree) -> list[Array]:
    """The arrays of a tree, in flat order."""
    return list(optree.tree_leaves(tree, namespace=NAMESPACE))


def tree_map(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply ``function`` leaf by leaf to trees of one structure."""
    return optree.tree_map(function, tree, *others, namespace=NAMESPACE)


def joined(xp: Any, arrays: Sequence[Array]) -> Array:
    """The numbers of all arrays in a row."""
    if len(arrays) == 1:
        return xp.reshape(arrays[0], (-1,))
    return xp.concat([xp.reshape(a, (-1,)) for a in arrays])


def parted(xp: Any, vector: Array, offsets: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """The arrays that a vector (P,), or a matrix (P, K) with columns like it, holds one after the other."""
    tail = tuple(vector.shape[1:])
    return [
        xp.reshape(vector[start:stop, ...], shape + tail)
        for start, stop, shape in zip(offsets, offsets[1:], shapes, strict=False)
    ]


_PLAIN = (joined, parted)
_fused: dict[type, tuple[Callable[..., Any], Callable[..., Any]]] = {}


def fuse(kind: type, join: Callable[..., Any], part: Callable[..., Any]) -> None:
    """Let arrays of one class be joined and parted by functions like ``joined`` and ``parted`` that run as one program."""
    _fused[kind] = (join, part)


@dataclass(frozen=True)
class ParameterSpace:
    """Structure, names and shapes of a tree of parameters: what a flat vector of length P stands for.

    Attributes:
        treespec: the optree structure.
        names: dotted path of every leaf, in flat order.
        shapes: shape of every leaf.
    """

    treespec: Any
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...] = field(init=False)
    offsets: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        sizes = tuple(math.prod(shape) for shape in self.shapes)
        offsets = [0]
        for size in sizes:
            offsets.append(offsets[-1] + size)
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "offsets", tuple(offsets))

    @classmethod
    def of(cls, tree: Tree) -> ParameterSpace:
        """The space to which the tree of arrays ``tree`` belongs."""
        arrays, treespec = flatten(tree)
        names = tuple(path_name(path) for path in treespec.paths())
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ShapeError(f"two parameters have the path {twice[0]!r}: a key with a dot in it collides with a nested one")
        return cls(treespec, names, tuple(tuple(int(n) for n in a.shape) for a in arrays))

    @staticmethod
    def names_of(tree: Tree) -> tuple[str, ...]:
        """Dotted path of every leaf of a tree, in flat order."""
        return tuple(path_name(path) for path in flatten(tree)[1].paths())

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return self.offsets[-1]

    def index(self, name: str) -> int:
        """Position of the leaf called ``name``."""
        try:
            return self.names.index(name)
        except ValueError:
            raise ShapeError(f"no parameter is called {name!r}; there are: {', '.join(self.names)}") from None

    def flatten(self, tree: Tree, *, what: str = "the tree") -> list[Array]:
        """Leaves of ``tree`` after checking structure and shapes against this space.

        Raises:
            ShapeError: naming the first parameter that does not fit.
        """
        arrays, treespec = flatten(tree)
        if treespec != self.treespec:
            raise ShapeError(
                f"{what} has the structure {treespec}, the parameters ({', '.join(self.names)}) have {self.treespec}"
            )
        for name, shape, array in zip(self.names, self.shapes, arrays, strict=True):
            if not hasattr(array, "shape"):
                raise ShapeError(f"{what}: {name!r} is a {type(array).__name__}, expected an array of shape {shape}")
            if tuple(array.shape) != shape:
                raise ShapeError(f"{what}: {name!r} has shape {tuple(array.shape)}, expected {shape}")
        return list(arrays)

    def unflatten(self, arrays: Sequence[Array]) -> Tree:
        """The tree with the given leaves."""
        return optree.tree_unflatten(self.treespec, arrays)

    def ravel(self, xp: Any, tree: Tree, *, what: str = "the tree") -> Array:
        """Flat vector (P,) of a tree."""
        arrays = self.flatten(tree, what=what)
        join = _fused.get(type(arrays[0]), _PLAIN)[0]
        return join(xp, arrays)

    def split(self, xp: Any, vector: Array) -> list[Array]:
        """Leaves of a flat vector (P,), or of a matrix (P, K): then each leaf has shape (*shape, K)."""
        if vector.shape[0] != self.size:
            raise ShapeError(f"expected {self.size} rows (one for each parameter), got {tuple(vector.shape)}")
        split = _fused.get(type(vector), _PLAIN)[1]
        found: list[Array] = split(xp, vector, self.offsets, self.shapes)
        return found

    def unravel(self, xp: Any, vector: Array) -> Tree:
        """The tree of a flat vector (P,)."""
        return self.unflatten(self.split(xp, vector))
