"""The block-diagonal approximation: what it asks of the data, and the operator."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import curvature as cv
from curvature.operators import EntryPartition

from . import choice
from .layer_blocks import Place, accumulate, add_to, gradients, joined, layer_blocks
from .measure import layers_of, parameters_of
from .options import BlockDiagonalMethod
from .partitions import resolved
from .plan import Plan, check_size
from .products import blocks_from_products

Array = Any
Tree = Any


@cv.estimate.dispatch
def estimate(matrix: cv.Operator, method: BlockDiagonalMethod, backend: cv.Backend) -> Any:
    """{"blocks": {place: (B, m, m)}} from products with the columns of the identity."""
    if not matrix.symmetric:
        raise cv.NotSymmetricError("'block-diagonal' is defined for symmetric operators; take (A + A.T) / 2 if that is meant")
    layers = layers_of(matrix)
    if method.partition == "auto":
        chosen = choice.choose(matrix, method, layers)
        blocks = blocks_from_products(matrix, chosen.plan, backend, method.max_products)
        return chosen.statistics(blocks, backend)
    plan = _checked(method, parameters_of(matrix), layers, matrix.dtype, backend)
    return {"blocks": blocks_from_products(matrix, plan, backend, method.max_products)}


@cv.estimate.dispatch
def estimate_from_gradients(
    matrix: cv.GaussNewtonMatrix, method: BlockDiagonalMethod, backend: cv.Backend
) -> Generator[Any, Any, Any]:
    """{"blocks": {place: (B, m, m)}} from the gradients of each example, by layer."""
    layers = matrix.problem.structure.layers
    if method.partition == "auto":
        chosen = choice.choose(matrix, method, layers)
        blocks = yield _of_gradients(matrix, chosen.plan, layers)
        return chosen.statistics(blocks, backend)
    plan = _checked(method, matrix.problem.space, layers, matrix.dtype, backend)
    blocks = yield _of_gradients(matrix, plan, layers)
    return {"blocks": blocks}


@cv.build.dispatch
def build(method: BlockDiagonalMethod, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """The operator of the blocks."""
    if "plan" in statistics:
        return choice.build(statistics, structure)
    needs_layers = method.partition in ("layer", "output-unit")
    plan = resolved(method.partition, structure.space, structure.layers if needs_layers else None)
    return plan.build(statistics["blocks"], structure.backend)


def _checked(
    method: BlockDiagonalMethod, space: cv.ParameterSpace, layers: Sequence[Any] | None, dtype: Any, backend: cv.Backend
) -> Plan:
    """The plan of the method's partition, once it is known to fit the memory."""
    plan = resolved(method.partition, space, layers)
    finer = ["parameter"] if layers is None else ["parameter", "output-unit"]
    check_size(
        plan,
        backend.xp.finfo(dtype).bits // 8,
        max_block=method.max_block,
        memory=method.memory,
        finer=[(f"partition={name!r}", resolved(name, space, layers)) for name in finer],
    )
    return plan


# From gradients -----------------------------------------------------------------------------------------


def _of_gradients(matrix: Any, plan: Plan, layers: Sequence[Any]) -> Callable[[Any], dict[str, Array]]:
    """evaluation ↦ {place: (B, m, m)}: places within a layer by layer, the others from several layers' gradients."""
    xp = matrix.xp
    if isinstance(plan.partition, EntryPartition):
        return lambda evaluation: _of_entries(matrix, plan, evaluation)
    owners = {leaf: layer.name for layer in layers for leaf in layer.block.leaves}
    within: dict[str, list[Place]] = {layer.name: [] for layer in layers}
    wide: list[Place] = []
    for block, form in zip(plan.partition.blocks, plan.forms, strict=True):
        names = {owners[leaf] for leaf in block.leaves}
        (within[names.pop()] if len(names) == 1 else wide).append((block, form))

    def of_layer(values: Any) -> dict[str, Array]:
        return layer_blocks(values, within[values.layer.name], xp)

    by_layer = matrix.of_layers(of_layer, key=("diagonal blocks", plan))

    def of_evaluation(evaluation: Any) -> dict[str, Array]:
        found = {name: array for blocks in by_layer(evaluation).values() for name, array in blocks.items()}
        for leaves in gradients(matrix, evaluation, {leaf for block, _ in wide for leaf in block.leaves}):
            accumulate(found, wide, leaves, xp)
        return found

    return of_evaluation


def _of_entries(matrix: Any, plan: Plan, evaluation: Any) -> dict[str, Array]:
    """Blocks of single entries."""
    xp, totals = matrix.xp, dict[str, Array]()
    for leaves in gradients(matrix, evaluation, set(range(len(matrix.space.names)))):
        parts = plan.partition.gather(xp, joined(xp, leaves))
        for place, form, part in zip(plan.partition.blocks, plan.forms, parts, strict=True):
            units = form.split(xp, part)
            add_to(totals, place.name, units @ xp.matrix_transpose(units))
    return totals
