"""``pack`` takes an operator apart and ``unpack`` puts it together again: open functions, to which authors add methods.

An operator of another package is saved and loaded once it has one method of each::

    @curvature.files.pack.dispatch
    def pack(operator: Banded):
        return {"bands": operator.bands, "space": operator.space}

    @curvature.files.unpack.dispatch
    def unpack(kind: type[Banded], parts: dict, backend: curvature.Backend):
        return Banded(parts["bands"], backend=backend, space=parts["space"])
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from ..backend import Backend
from ..errors import UnsupportedError
from ..operators import (
    BlockDiagonal,
    Dense,
    Diagonal,
    EntryPartition,
    Kronecker,
    KroneckerCongruence,
    KroneckerEigen,
    KroneckerSum,
    LowRank,
    LowRankPlusDiagonal,
    Operator,
    Product,
    StackedBlocks,
    Sum,
)
from ..operators.open_function import open_function


@open_function
def pack(operator: Operator) -> Any:
    """The parts of an operator, by name: any tree of arrays, numbers, strings, None, operators, parameter spaces and
    partitions.

    Raises:
        UnsupportedError: if the operator cannot be taken apart.
    """
    kind = type(operator).__name__
    if operator.matrix_free:
        raise UnsupportedError(
            f"a {kind} is known by its products and holds no arrays that could be saved; save an approximation of it, "
            "curvature.approximate(A, 'kfac'), or its matrix, curvature.operators.Dense(A.to_dense(), space=A.space)"
        )
    raise UnsupportedError(
        f"nobody says how a {kind} is saved; its author gives a method of curvature.files.pack for it and one of "
        "curvature.files.unpack, or save its matrix, curvature.operators.Dense(A.to_dense(), space=A.space)"
    )


@open_function
def unpack(kind: type, parts: Any, backend: Backend) -> Any:
    """The operator of class ``kind`` that ``pack`` took apart, its arrays being on ``backend`` now."""
    raise UnsupportedError(f"nobody says how a {kind.__name__} is loaded: curvature.files.unpack has no method for it")


@pack.dispatch
def _pack_dense(operator: Dense) -> Any:
    return {"array": operator.array, "symmetric": operator.symmetric, "space": operator.space}


@unpack.dispatch
def _unpack_dense(kind: type[Dense], parts: Any, backend: Backend) -> Any:
    return Dense(parts["array"], backend=backend, symmetric=parts["symmetric"], space=parts["space"])


@pack.dispatch
def _pack_diagonal(operator: Diagonal) -> Any:
    return {"entries": operator.entries, "space": operator.space}


@unpack.dispatch
def _unpack_diagonal(kind: type[Diagonal], parts: Any, backend: Backend) -> Any:
    return Diagonal(parts["entries"], backend=backend, space=parts["space"])


@pack.dispatch
def _pack_kronecker(operator: Kronecker) -> Any:
    return {"factors": list(operator.factors), "space": operator.space}


@unpack.dispatch
def _unpack_kronecker(kind: type[Kronecker], parts: Any, backend: Backend) -> Any:
    return Kronecker(parts["factors"], backend=backend, space=parts["space"])


@pack.dispatch
def _pack_kronecker_eigen(operator: KroneckerEigen) -> Any:
    return {
        "bases": list(operator.bases),
        "values": operator.values,
        "complement": operator.complement,
        "space": operator.space,
    }


@unpack.dispatch
def _unpack_kronecker_eigen(kind: type[KroneckerEigen], parts: Any, backend: Backend) -> Any:
    return KroneckerEigen(parts["bases"], parts["values"], complement=parts["complement"], backend=backend, space=parts["space"])


@pack.dispatch
def _pack_kronecker_sum(operator: KroneckerSum) -> Any:
    return {"terms": list(operator.terms), "symmetric": operator.symmetric, "space": operator.space}


@unpack.dispatch
def _unpack_kronecker_sum(kind: type[KroneckerSum], parts: Any, backend: Backend) -> Any:
    return KroneckerSum(parts["terms"], symmetric=parts["symmetric"], space=parts["space"])


@pack.dispatch
def _pack_kronecker_congruence(operator: KroneckerCongruence) -> Any:
    return {
        "bases": list(operator.bases),
        "inverse_bases": list(operator.inverse_bases),
        "values": operator.values,
        "space": operator.space,
    }


@unpack.dispatch
def _unpack_kronecker_congruence(kind: type[KroneckerCongruence], parts: Any, backend: Backend) -> Any:
    bases, inverses, values = parts["bases"], parts["inverse_bases"], parts["values"]
    return KroneckerCongruence(bases, values, inverse_bases=inverses, backend=backend, space=parts["space"])


@pack.dispatch
def _pack_low_rank(operator: LowRank) -> Any:
    return {"vectors": operator.vectors, "values": operator.values, "space": operator.space}


@unpack.dispatch
def _unpack_low_rank(kind: type[LowRank], parts: Any, backend: Backend) -> Any:
    return LowRank(parts["vectors"], parts["values"], backend=backend, space=parts["space"], orthonormal=True)


@pack.dispatch
def _pack_low_rank_plus_diagonal(operator: LowRankPlusDiagonal) -> Any:
    return {"entries": operator.entries, "factor": operator.factor, "core": operator.core, "space": operator.space}


@unpack.dispatch
def _unpack_low_rank_plus_diagonal(kind: type[LowRankPlusDiagonal], parts: Any, backend: Backend) -> Any:
    return LowRankPlusDiagonal(parts["entries"], parts["factor"], parts["core"], backend=backend, space=parts["space"])


@pack.dispatch
def _pack_block_diagonal(operator: BlockDiagonal) -> Any:
    # Ordered: without a partition the blocks lie in the order of their names here.
    blocks = OrderedDict(operator.blocks)
    if isinstance(operator.partition, EntryPartition):
        return {"blocks": blocks, "space": operator.space, "entries": OrderedDict(operator.partition.entries)}
    return {"blocks": blocks, "partition": None if operator.space is None else operator.partition}


@unpack.dispatch
def _unpack_block_diagonal(kind: type[BlockDiagonal], parts: Any, backend: Backend) -> Any:
    if "entries" not in parts:
        return BlockDiagonal(parts["blocks"], partition=parts["partition"])
    # Positions are kept on the host.
    entries = {name: at if isinstance(at, np.ndarray) else backend.to_numpy(at) for name, at in parts["entries"].items()}
    return BlockDiagonal(parts["blocks"], partition=EntryPartition(parts["space"], entries))


@pack.dispatch
def _pack_stacked_blocks(operator: StackedBlocks) -> Any:
    return {"array": operator.array, "rows": operator.rows, "symmetric": operator.symmetric, "space": operator.space}


@unpack.dispatch
def _unpack_stacked_blocks(kind: type[StackedBlocks], parts: Any, backend: Backend) -> Any:
    return StackedBlocks(parts["array"], rows=parts["rows"], symmetric=parts["symmetric"], backend=backend, space=parts["space"])


@pack.dispatch
def _pack_sum(operator: Sum) -> Any:
    return {"terms": list(operator.terms), "space": operator.space}


@unpack.dispatch
def _unpack_sum(kind: type[Sum], parts: Any, backend: Backend) -> Any:
    return Sum(parts["terms"], space=parts["space"])


@pack.dispatch
def _pack_product(operator: Product) -> Any:
    return {"left": operator.left, "right": operator.right, "space": operator.space}


@unpack.dispatch
def _unpack_product(kind: type[Product], parts: Any, backend: Backend) -> Any:
    return Product(parts["left"], parts["right"], space=parts["space"])
