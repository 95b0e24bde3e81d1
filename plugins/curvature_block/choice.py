"""The partition "auto": layers that the matrix couples are merged, as far as the memory goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import curvature as cv
from curvature.operators import Partition, vector_block

from .budget import Level, levels_of, merged, select
from .measure import Samples, by_probe, parameters_of, sampled
from .partitions import output_units, resolved
from .plan import Form, Plan
from .report import of_samples

Array = Any

MEMORY = 2**30
"""Bytes that "auto" may take unless it is told."""


@dataclass(frozen=True)
class Choice:
    """What was measured and chosen.

    Attributes:
        fine: the blocks that were measured: layers, or the parameters of an operator that belongs to no problem.
        table: for each parameter the number of its fine block, of its place in the plan, that place's form, and whether fine
            blocks are layers: (parameters, 5).
        samples: the couplings.
    """

    fine: Partition
    table: Array
    samples: Samples

    @property
    def plan(self) -> Plan:
        """The plan."""
        return _plan(self.fine, self.table)

    def statistics(self, blocks: dict[str, Array], backend: cv.Backend) -> dict[str, Any]:
        """{"blocks", "plan": the table, "samples": (S, B, B), "within": (S, B), "products": their number}."""
        return {
            "blocks": blocks,
            "plan": backend.asarray(self.table),
            "samples": self.samples.values,
            "within": self._within(blocks, backend),
            "products": backend.asarray(np.asarray([self.samples.products], dtype=np.int32)),
        }

    def _within(self, blocks: dict[str, Array], backend: cv.Backend) -> Array:
        """‖(F_jj - B_jj) z_j‖² of each fine block, (S, B): not zero where the memory did not hold it whole."""
        xp, values, plan = backend.xp, self.samples.values, self.plan
        operator, probes, columns = plan.build(blocks, backend), int(values.shape[0]), []
        for j, (z, image) in enumerate(zip(self.samples.probes, self.samples.images, strict=True)):
            mine = self.table[list(self.fine.blocks[j].leaves), :]
            if len(set(mine[:, 1])) == 1 and mine[0, 2] == 1:
                columns.append(xp.zeros_like(values[:, 0, 0]))
                continue
            parts = [
                z if i == j else xp.zeros((block.size, int(z.shape[1])), dtype=z.dtype, device=backend.device)
                for i, block in enumerate(self.fine.blocks)
            ]
            kept = self.fine.gather(xp, operator @ self.fine.scatter(xp, parts))[j]
            columns.append(by_probe(xp, [image - kept], self.fine.blocks[j].size <= probes, probes)[:, 0])
        return xp.stack(columns, axis=1)


def choose(matrix: cv.Operator, method: Any, layers: Sequence[Any] | None) -> Choice:
    """Measure the couplings and choose the blocks.

    Raises:
        UnsupportedError: where not even the diagonal fits the memory; says the smallest that does. And inside of a program
            that is being compiled, where nothing can be chosen.
    """
    space, backend = parameters_of(matrix), matrix.backend
    memory = MEMORY if method.memory is None else method.memory
    itemsize = backend.xp.finfo(matrix.dtype).bits // 8
    if space.size * itemsize > memory:
        raise cv.UnsupportedError(
            f"memory={memory} bytes is too little for any blocks of {space.size} parameters: the smallest, the diagonal alone, "
            f"take {space.size * itemsize} bytes"
        )
    fine = _fine(space, layers)
    samples = sampled(matrix, fine, method.probes, method.seed)
    if backend.is_abstract(samples.values):
        raise cv.UnsupportedError(
            "partition='auto' looks at the matrix, so it cannot be chosen inside of a program that is being compiled: choose "
            "outside and pass on partition=operator.report.plan"
        )
    mean = np.asarray(backend.to_numpy(samples.values), dtype=np.float64).mean(axis=0)
    units = [1] * len(fine.blocks) if layers is None else [output_units(layer).number for layer in layers]
    sizes = [[space.sizes[leaf] for leaf in block.leaves] for block in fine.blocks]
    levels = select(
        [levels_of(of_block, number) for of_block, number in zip(sizes, units, strict=True)],
        [float(value) for value in np.diag(mean)],
        memory // itemsize,
        method.max_block,
    )
    groups = merged(
        (mean + mean.T) / 2,
        [block.size for block in fine.blocks],
        [level.kind == "dense" for level in levels],
        threshold=method.coupling,
        left=memory // itemsize - sum(level.numbers for level in levels),
        max_block=method.max_block,
    )
    return Choice(fine, _table(fine, layers, levels, groups), samples)


def build(statistics: dict[str, Any], structure: cv.Structure) -> cv.operators.BlockDiagonal:
    """The operator of the partition that was chosen, with its report."""
    backend = structure.backend
    table = np.asarray(backend.to_numpy(statistics["plan"]))
    fine = _fine(structure.space, structure.layers if table[0, 4] else None)
    plan = _plan(fine, table)
    operator = plan.build(statistics["blocks"], backend)
    samples, within = (np.asarray(backend.to_numpy(statistics[name])) for name in ("samples", "within"))
    names = [block.name for block in fine.blocks]
    places: dict[int, list[int]] = {}
    for owner, place in zip(table[:, 0], table[:, 1], strict=True):
        members = places.setdefault(int(place), [])
        if int(owner) not in members:
            members.append(int(owner))
    # A block in several places is split: it shares with no other, and is one group in the report.
    groups = {tuple(names[i] for i in sorted(members)) for members in places.values()}
    ordered = tuple(sorted(groups, key=lambda group: names.index(group[0])))
    products = int(backend.to_numpy(statistics["products"])[0])
    operator.report = of_samples(tuple(names), samples, within, ordered, products, plan)
    return operator


def _fine(space: cv.ParameterSpace, layers: Sequence[Any] | None) -> Partition:
    partition = resolved("parameter" if layers is None else "layer", space, layers).partition
    assert isinstance(partition, Partition)
    return partition


def _table(fine: Partition, layers: Sequence[Any] | None, levels: Sequence[Level], groups: Sequence[Sequence[int]]) -> Array:
    """See ``Choice.table``."""
    table = np.zeros((len(fine.space.names), 5), dtype=np.int32)
    place = 0
    for group in groups:
        kind = levels[group[0]].kind
        for i in group:
            block = fine.blocks[i]
            form = Form()
            if kind == "diagonal":
                form = Form(block.size)
            elif kind == "output-unit" and layers is not None:
                form = output_units(layers[i])
            for leaf in block.leaves:
                table[leaf, :] = i, place, form.number, form.rows, layers is not None
                place += kind == "parameter"
        place += kind != "parameter"
    return table


def _plan(fine: Partition, table: Array) -> Plan:
    """The plan that a table stands for, its places in the order of their first parameters."""
    space, places = fine.space, dict[int, list[int]]()
    for leaf, place in enumerate(table[:, 1]):
        places.setdefault(int(place), []).append(leaf)
    blocks, forms = [], []
    for leaves in sorted(places.values()):
        owners = list(dict.fromkeys(int(table[leaf, 0]) for leaf in leaves))
        whole = fine.blocks[owners[0]]
        if len(owners) == 1 and set(whole.leaves) == set(leaves):
            blocks.append(whole)
        elif len(owners) == 1:
            blocks.append(vector_block("+".join(space.names[leaf] for leaf in leaves), space, leaves))
        else:
            blocks.append(vector_block("+".join(fine.blocks[i].name for i in owners), space, leaves))
        forms.append(Form(int(table[leaves[0], 2]), bool(table[leaves[0], 3])))
    return Plan(Partition(space, tuple(blocks)), tuple(forms))
