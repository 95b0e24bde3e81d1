"""What a user may give as a partition, and the plan that it means for the parameters at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import curvature as cv
from curvature.operators import Block, Partition, vector_block
from curvature.trees import leaves

from .labels import EntryLabels
from .plan import Form, Plan

NAMES = ("layer", "parameter", "output-unit", "auto")


@dataclass(frozen=True)
class Groups:
    """Blocks by name, each with the names or patterns of its parameters."""

    groups: tuple[tuple[str, tuple[str, ...]], ...]

    def plan(self, space: cv.ParameterSpace) -> Plan:
        """The plan of these blocks.

        Raises:
            DataError: for a name or pattern that fits no parameter, and parameters that are missing or repeated.
        """
        owner: dict[str, str] = {}
        blocks = []
        for name, patterns in self.groups:
            found: list[int] = []
            for pattern in patterns:
                matching = [
                    i for i, parameter in enumerate(space.names) if parameter == pattern or fnmatchcase(parameter, pattern)
                ]
                if not matching:
                    near = get_close_matches(pattern, space.names, n=2, cutoff=0.6)
                    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
                    listed = ", ".join(space.names)
                    raise cv.DataError(f"block {name!r}: no parameter is called {pattern!r}{hint} (there are: {listed})")
                for leaf in matching:
                    parameter = space.names[leaf]
                    if parameter in owner:
                        twice = "twice" if owner[parameter] == name else f"and in block {owner[parameter]!r}"
                        raise cv.DataError(f"parameter {parameter!r} is in block {name!r} {twice}; each belongs to one block")
                    owner[parameter] = name
                    found.append(leaf)
            blocks.append(vector_block(name, space, sorted(found)))
        missing = [parameter for parameter in space.names if parameter not in owner]
        if missing:
            raise cv.DataError(f"the partition leaves out {', '.join(map(repr, missing))}; every parameter belongs to one block")
        return dense(Partition(space, tuple(blocks)))


def normalised(partition: Any) -> Any:
    """The partition as a value that can be compared and hashed: a name, ``Groups``, ``EntryLabels`` or a ``Plan``.

    Raises:
        DataError: if it is nothing of the kind.
    """
    if isinstance(partition, Groups | EntryLabels | Plan):
        return partition
    if isinstance(partition, str):
        if partition in NAMES:
            return partition
        near = get_close_matches(partition, NAMES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise cv.DataError(f"there is no partition {partition!r}{hint} (partitions: {', '.join(NAMES)}, or blocks of your own)")
    found = leaves(partition)
    if not found:
        raise cv.DataError("a partition needs at least one block")
    if not any(isinstance(leaf, str) for leaf in found):
        return EntryLabels(partition)
    if isinstance(partition, Mapping):
        groups = [(str(name), _patterns(name, parameters)) for name, parameters in partition.items()]
    elif isinstance(partition, Sequence) and not any(isinstance(group, str) for group in partition):
        groups = [("+".join(map(str, group)), _patterns(position, group)) for position, group in enumerate(partition)]
    else:
        raise cv.DataError("a partition is {block name: [parameters]} or [[parameters of a block], …]; got a list of names")
    names = [name for name, _ in groups]
    if len(set(names)) < len(names):
        raise cv.DataError(f"two blocks have the name {max(names, key=names.count)!r}")
    return Groups(tuple(groups))


def _patterns(name: Any, parameters: Any) -> tuple[str, ...]:
    patterns = (parameters,) if isinstance(parameters, str) else tuple(parameters)
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise cv.DataError(f"block {name!r} takes the names or patterns of at least one parameter, got {parameters!r}")
    return patterns


# Plans --------------------------------------------------------------------------------------------------


def dense(partition: Partition) -> Plan:
    """One dense block in each place."""
    return Plan(partition, (Form(),) * len(partition.blocks))


def resolved(partition: Any, space: cv.ParameterSpace, layers: Sequence[Any] | None) -> Plan:
    """The plan of any partition but "auto".

    Raises:
        UnsupportedError: if it takes layers and there are none.
        DataError, ShapeError: if it does not fit the parameters.
    """
    if isinstance(partition, Plan):
        if partition.partition.space != space:
            theirs, ours = (", ".join(s.names) for s in (partition.partition.space, space))
            raise cv.DataError(f"the plan is one for other parameters: {theirs}; these are {ours}")
        return partition
    if isinstance(partition, Groups):
        return partition.plan(space)
    if isinstance(partition, EntryLabels):
        entries, numbers = partition.partition(space)
        return Plan(entries, tuple(Form(number) for number in numbers))
    if partition == "parameter":
        return dense(Partition(space, tuple(vector_block(name, space, [i]) for i, name in enumerate(space.names))))
    if layers is None:
        raise cv.UnsupportedError(
            f"partition={partition!r} takes the layers of a model, and this operator belongs to none: take "
            f"partition='parameter' or name the parameters of each block"
        )
    whole = Partition(space, tuple(layer.block for layer in layers))
    return dense(whole) if partition == "layer" else Plan(whole, tuple(output_units(layer) for layer in layers))


def output_units(layer: Any) -> Form:
    """How the parameters of a layer belong to its outputs."""
    block: Block = layer.block
    rows, columns = block.shape
    if layer.kind in ("affine", "grouped"):
        return Form(rows, True) if layer.transposed else Form(columns, False)
    if layer.kind == "embedding":
        return Form(columns, False)
    if layer.kind == "shift":
        return Form(block.size)
    if layer.kind == "scale":  # w above b, or w alone
        return Form(block.size // len(block.leaves), False)
    return Form()
