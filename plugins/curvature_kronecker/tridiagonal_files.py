"""How the operators of tridiagonal K-FAC are saved and loaded."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import curvature as cv

from .coupling import Coupling
from .tridiagonal_operator import BlockTridiagonal, BlockTridiagonalInverse


@cv.files.pack.dispatch
def pack(operator: BlockTridiagonalInverse) -> Any:
    """The diagonal blocks and the couplings between them."""
    couplings = [{field.name: getattr(coupling, field.name) for field in fields(coupling)} for coupling in operator.couplings]
    return {"blocks": operator.blocks, "couplings": couplings}


@cv.files.unpack.dispatch
def unpack(kind: type[BlockTridiagonalInverse], parts: dict, backend: cv.Backend) -> Any:
    """The operator of its blocks and couplings."""
    return BlockTridiagonalInverse(parts["blocks"], [Coupling(**coupling) for coupling in parts["couplings"]])


@cv.files.pack.dispatch
def pack_inverse(operator: BlockTridiagonal) -> Any:
    """What it is the inverse of."""
    return {"of": operator.of, "factor": operator.factor}


@cv.files.unpack.dispatch
def unpack_inverse(kind: type[BlockTridiagonal], parts: dict, backend: cv.Backend) -> Any:
    """The inverse of that."""
    return BlockTridiagonal(parts["of"], parts["factor"])
