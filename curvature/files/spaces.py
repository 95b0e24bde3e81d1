"""Parameter spaces and partitions as JSON: names, shapes and containers of the parameters, and the blocks' layout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import FileFormatError
from ..operators import Block, Partition
from ..trees import ParameterSpace
from .containers import Warn, decode, encode
from .nodes import field, fitting, kind, sizes

Node = Any


def encode_space(space: ParameterSpace, warn: Warn) -> Node:
    """``{"type": "space", "tree": …}``, a leaf of the tree being ``{"type": "parameter", "name", "shape"}``."""
    parameters = (
        {"type": "parameter", "name": name, "shape": list(shape)} for name, shape in zip(space.names, space.shapes, strict=True)
    )
    return {"type": "space", "tree": encode(space.treespec, parameters, warn)}


def decode_space(node: Node, warn: Warn) -> ParameterSpace:
    """The space whose trees have the containers and shapes of ``node``."""
    names: dict[int, str] = {}
    arrays: list[Any] = []

    def parameter(leaf: Node) -> Any:
        if kind(leaf) != "parameter":
            raise FileFormatError(f"a parameter space has {str(leaf)[:80]} where a parameter should be")
        with fitting("a shape in its parameter space"):
            # One number seen as an array of any shape: it takes no memory.
            array = np.broadcast_to(np.zeros(()), sizes(leaf.get("shape")))
        names[id(array)] = field(leaf, "name", str)
        arrays.append(array)
        return array

    if "tree" not in node:
        raise FileFormatError("its structure has a parameter space without the field 'tree'")
    tree = decode(node["tree"], parameter, warn)
    with fitting("its parameter space"):
        space = ParameterSpace.of(tree)
        return replace(space, names=tuple(names[id(array)] for array in space.flatten(tree)))


def encode_partition(partition: Partition, warn: Warn) -> Node:
    """``{"type": "partition", "space", "blocks": [{"name", "leaves", "shapes", "axis"}, …]}``."""
    blocks = [
        {"name": block.name, "leaves": list(block.leaves), "shapes": [list(shape) for shape in block.shapes], "axis": block.axis}
        for block in partition.blocks
    ]
    return {"type": "partition", "space": encode_space(partition.space, warn), "blocks": blocks}


def decode_partition(node: Node, warn: Warn) -> Partition:
    """The partition that was encoded."""
    space = decode_space(field(node, "space", dict), warn)
    blocks = tuple(_block(block, len(space.names)) for block in field(node, "blocks", list))
    with fitting("its partition"):
        return Partition(space, blocks)


def _block(node: Node, count: int) -> Block:
    leaves = sizes(field(node, "leaves", list))
    shapes = tuple(sizes(shape) for shape in field(node, "shapes", list))
    matrices = tuple((shape[0], shape[1]) for shape in shapes if len(shape) == 2)
    axis = field(node, "axis", int)
    if not len(leaves) == len(shapes) == len(matrices) or not leaves or axis not in (0, 1) or max(leaves) >= count:
        raise FileFormatError(f"a partition of {count} parameters has the block {str(node)[:120]}")
    return Block(field(node, "name", str), leaves, matrices, axis)
