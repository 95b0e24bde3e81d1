"""How the parameters of a model enter it: the layers, found by the backend and proven before they are believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ..backend import Backend, ParameterUses, Use
from ..operators import Block, Partition, vector_block
from ..trees import ParameterSpace

if TYPE_CHECKING:
    pass

Array = Any


@dataclass(frozen=True)
class Layer:
    """A set of parameters that enter together.

    Attributes:
        name: path of the weight, or of both: ``layers.0.weight+layers.0.bias``.
        kind: ``"affine"``: s = W a (+ b), one or several times; ``"grouped"``: the same with groups of inputs and outputs;
            ``"scale"``: s = w ∘ x (+ b); ``"embedding"``: s a row of W; ``"shift"``: a vector added; ``"mixed"``: several of
            these, or with parts of the parameter; ``"general"``: anything else, through gradients of each example.
        weight: path of the weight, or of the only parameter.
        bias: path of the bias (``affine``, ``grouped``, ``scale``) or None.
        transposed: the weight is stored (d_out, d_in) rather than (d_in, d_out).
        uses: positions among the backend's uses.
        block: how its parameters are laid out as one matrix: [W | b] (d_out, d_in + 1) if ``transposed``, else W above
            bᵀ, (d_in + 1, d_out); w above b of a ``scale``.
        reason: for ``general``, why.
    """

    name: str
    kind: Literal["affine", "grouped", "scale", "embedding", "shift", "mixed", "general"]
    weight: str
    bias: str | None
    transposed: bool
    uses: tuple[int, ...]
    block: Block
    reason: str = ""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Paths of the weight and of the bias, if any."""
        return (self.weight,) if self.bias is None else (self.weight, self.bias)


class Structure:
    """Parameters, backend and layers: all that ``build`` needs beside the statistics.

    Attributes:
        space: names and shapes of the parameters.
        backend: where they live.
        matrix: the matrix that is being approximated, for methods that keep it (``truncated``); None where an operator is
            built from statistics alone.
    """

    def __init__(self, space: ParameterSpace, backend: Backend, find: Callable[[], Layers], matrix: Any = None) -> None:
        self.space = space
        self.backend = backend
        self.matrix = matrix
        self._find = find

    def of(self, matrix: Any) -> Structure:
        """The same structure with the matrix that is being approximated."""
        return Structure(self.space, self.backend, lambda: self._found, matrix)

    @cached_property
    def _found(self) -> Layers:
        return self._find()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every parameter belongs to exactly one. Found on first use: approximations without layers never look."""
        return self._found.layers

    @property
    def unused(self) -> tuple[str, ...]:
        """Parameters that do not enter the model (each a ``general`` layer as well)."""
        return self._found.unused

    @property
    def partition(self) -> Partition:
        """One block for each layer."""
        return Partition(self.space, tuple(layer.block for layer in self.layers))


@dataclass(frozen=True)
class Layers:
    """The layers of a model, and the parameters that do not enter it."""

    layers: tuple[Layer, ...]
    unused: tuple[str, ...] = ()


def signature(uses: ParameterUses, batch_size: int) -> tuple[Any, ...]:
    """What must agree for a structure that was proven on one batch to hold on another."""
    described = tuple(
        (u.kind, u.parameter, u.bias, u.matrix_shape, u.transposed, u.groups, u.entries is None, _positions(u, batch_size))
        for u in uses.uses
    )
    return (described, tuple(sorted(uses.unrecognised.items())), uses.unused)


def _positions(use: Use, batch_size: int) -> tuple[Any, ...] | None:
    """Shared positions of a use, and whether its first axis is as long as that of the examples."""
    if use.inputs is None:
        return None
    last = None if use.kind == "embedding" else -1
    return (use.inputs.shape[0] == batch_size, *(int(n) for n in use.inputs.shape[1:last]))


def layers_of(space: ParameterSpace, uses: Sequence[Use], doubted: dict[str, str]) -> tuple[Layer, ...]:
    """Every parameter in one layer: by its uses, or ``general`` for the reason that ``doubted`` gives."""
    by_weight: dict[str, list[int]] = {}
    for position, use in enumerate(uses):
        by_weight.setdefault(use.parameter, []).append(position)
    layers: dict[str, Layer] = {}
    taken: set[str] = set()
    for name, positions in by_weight.items():
        if name in doubted or name in taken:
            continue
        layer = layers[name] = _layer(space, uses, name, positions, doubted)
        taken.update(name for name in (layer.weight, layer.bias) if name is not None)
    for use in uses:
        # A bias whose weight went another way: it is a shift of that output, if all its uses are such.
        name = use.bias or ""
        if name and name not in taken and name not in doubted and name not in layers:
            layers[name] = _shift(space, uses, name)
    covered = {leaf for layer in layers.values() for leaf in layer.block.leaves}
    for index, name in enumerate(space.names):
        if index not in covered:
            reason = doubted.get(name, "it enters in a way that is not recognised")
            layers[name] = Layer(name, "general", name, None, False, (), vector_block(name, space, [index]), reason)
    return tuple(sorted(layers.values(), key=lambda layer: min(layer.block.leaves)))


def _layer(space: ParameterSpace, uses: Sequence[Use], name: str, positions: Sequence[int], doubted: Mapping[str, str]) -> Layer:
    """The layer of a parameter that enters as the weight of the uses at ``positions``."""
    group = [uses[i] for i in positions]
    first, index = group[0], space.index(name)
    is_bias = any(u.bias == name for u in uses)
    alike = len({(u.kind, u.matrix_shape, u.transposed, u.groups) for u in group}) == 1
    in_parts = any(u.entries is not None for u in group)
    if all(u.kind == "shift" for u in group) and not in_parts:
        return _shift(space, uses, name)  # it may be the bias of a layer elsewhere: all of its uses count
    if is_bias:
        reason = "it enters as a weight and as a bias"
        return Layer(name, "general", name, None, False, (), vector_block(name, space, [index]), reason)
    if not alike or in_parts:
        return Layer(name, "mixed", name, None, False, tuple(positions), vector_block(name, space, [index]))
    kind = _KINDS[first.kind] if first.groups == 1 else "grouped"
    bias = _joined_bias(uses, group, doubted) if kind != "embedding" else None
    if kind == "scale":
        block = vector_block(name if bias is None else f"{name}+{bias}", space, [index, *_indices(space, bias)])
        return Layer(block.name, "scale", name, bias, False, tuple(positions), block)
    rows, columns = first.matrix_shape
    if bias is None:
        block = Block(name, (index,), ((rows, columns),))
    else:
        shape, axis = ((rows, 1), 1) if first.transposed else ((1, columns), 0)
        block = Block(f"{name}+{bias}", (index, space.index(bias)), ((rows, columns), shape), axis)
    return Layer(block.name, kind, name, bias, first.transposed, tuple(positions), block)


_KINDS: dict[str, Literal["affine", "scale", "embedding"]] = {"linear": "affine", "scale": "scale", "embedding": "embedding"}


def _indices(space: ParameterSpace, bias: str | None) -> list[int]:
    return [] if bias is None else [space.index(bias)]


def _joined_bias(uses: Sequence[Use], group: Sequence[Use], doubted: Mapping[str, str]) -> str | None:
    """The bias of a layer: it joins only if it enters with every use of the weight and nowhere else."""
    bias = group[0].bias
    if bias is None or bias in doubted or any(u.bias != bias for u in group):
        return None
    return bias if sum(bias in (u.bias, u.parameter) for u in uses) == len(group) else None


def _shift(space: ParameterSpace, uses: Sequence[Use], name: str) -> Layer:
    positions = tuple(i for i, u in enumerate(uses) if name in (u.bias, u.parameter))
    return Layer(name, "shift", name, None, False, positions, vector_block(name, space, [space.index(name)]))
