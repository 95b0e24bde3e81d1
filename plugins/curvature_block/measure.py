"""How much the blocks of a matrix are coupled, by its products with random vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import curvature as cv
from curvature.operators import EntryPartition, Partition

from .labels import EntryLabels
from .partitions import dense, normalised, resolved
from .plan import Form, Plan
from .report import CouplingReport, of_samples

Array = Any


@dataclass(frozen=True)
class Samples:
    """‖F_ij z_j‖² of random signs z_j on block j: its expectation is ‖F_ij‖² (MATH: Hutchinson 1990).

    Blocks of no more rows than there are probes are multiplied with the columns of the identity instead, which is exact.

    Attributes:
        values: (S, B, B).
        probes: z_j of each block, (m_j, K).
        images: F_jj z_j of each block, (m_j, K).
        products: how many products were taken.
    """

    values: Array
    probes: Sequence[Array]
    images: Sequence[Array]
    products: int


def sampled(matrix: cv.Operator, partition: Partition | EntryPartition, probes: int, seed: int) -> Samples:
    """Samples of all couplings: a product for each probe and block."""
    xp, backend = matrix.xp, matrix.backend
    rng, blocks = backend.rng(seed), partition.blocks
    sent, images, columns = [], [], []
    for j, block in enumerate(blocks):
        exact = block.size <= probes
        z = (
            xp.eye(block.size, dtype=matrix.dtype, device=backend.device)
            if exact
            else rng.rademacher((block.size, probes), dtype=matrix.dtype)
        )
        k = int(z.shape[1])
        parts = [
            z if i == j else xp.zeros((other.size, k), dtype=matrix.dtype, device=backend.device)
            for i, other in enumerate(blocks)
        ]
        rows = partition.gather(xp, matrix @ partition.scatter(xp, parts))
        columns.append(by_probe(xp, rows, exact, probes))
        sent.append(z)
        images.append(rows[j])
    products = sum(int(z.shape[1]) for z in sent)
    return Samples(xp.stack(columns, axis=2), sent, images, products)


def by_probe(xp: Any, rows: Sequence[Array], exact: bool, probes: int) -> Array:
    """Squared norms of the rows of each block, (S, B); of exact columns their sum, which is the same for all probes."""
    squares = xp.stack([xp.sum(part * part, axis=0) for part in rows], axis=1)
    if not exact:
        return squares
    return xp.broadcast_to(xp.sum(squares, axis=0, keepdims=True), (probes, len(rows)))


def coupling(matrix: cv.Operator, *, partition: Any = None, probes: int = 10, seed: int = 0) -> CouplingReport:
    """How large the blocks F_ij of a symmetric matrix are off its diagonal, ‖F_ij‖ / √(‖F_ii‖ ‖F_jj‖), with error bars.

    Matrix-free: E‖F_ij z_j‖² = ‖F_ij‖² for random signs z_j on the rows of block j, a product for each probe and block.

    Args:
        partition: the blocks, as ``BlockDiagonalMethod`` takes them, by name, group or label; by default the layers, or the
            parameters of an operator that belongs to no problem.
        probes: random vectors for each block.
        seed: of the probes.

    Raises:
        DataError: for a partition that does not fit the parameters.
        NotSymmetricError: if the matrix is not symmetric.
    """
    if not matrix.symmetric:
        raise cv.NotSymmetricError("the coupling of blocks is measured for symmetric operators")
    if probes < 2:
        raise cv.DataError(f"at least 2 probes are needed for an error bar, got {probes}")
    plan = _measured_plan(matrix, partition)
    samples = sampled(matrix, plan.partition, probes, seed)
    names = tuple(block.name for block in plan.partition.blocks)
    host = matrix.backend.to_numpy(samples.values)
    return of_samples(names, host, None, tuple((name,) for name in names), samples.products, plan)


def _measured_plan(matrix: cv.Operator, partition: Any) -> Plan:
    space = parameters_of(matrix)
    layers = layers_of(matrix)
    if partition is None:
        partition = "parameter" if layers is None else "layer"
    chosen = normalised(partition)
    if isinstance(chosen, EntryLabels):
        entries = chosen.single_blocks(space)
        return Plan(entries, (Form(),) * len(entries.blocks))
    if chosen in ("auto", "output-unit"):
        raise cv.DataError(f"the coupling is measured between 'layer's, 'parameter's or blocks of your own, not {chosen!r}")
    plan = resolved(chosen, space, layers)
    return dense(plan.partition) if isinstance(plan.partition, Partition) else plan


def parameters_of(matrix: cv.Operator) -> cv.ParameterSpace:
    """The parameters of an operator, or one that stands for all of its rows."""
    return matrix.space if matrix.space is not None else Partition.contiguous([matrix.shape[0]]).space


def layers_of(matrix: cv.Operator) -> Sequence[Any] | None:
    """The layers of the model that a matrix belongs to, if it does."""
    problem = getattr(matrix, "problem", None)
    return None if problem is None else problem.structure.layers
