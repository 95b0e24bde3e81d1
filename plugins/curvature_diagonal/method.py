"""The diagonal of a Fisher-type matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import curvature as cv
from curvature.operators import Diagonal

Array = Any


@dataclass(frozen=True)
class DiagonalMethod(cv.Approximation):
    """The exact diagonal of GGN, Fisher, Monte Carlo or empirical Fisher: F_ii.

    It is the nearest diagonal matrix in the Frobenius norm. For a dense layer it is Σ_n w_n a_n² (Σ_r g_nr²)ᵀ, so no
    gradient of a single example is formed (BackPACK: Dangel, Kunstner and Hennig 2020).
    """

    name: ClassVar[str] = "diagonal"


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: DiagonalMethod, backend: cv.Backend) -> Any:
    """{layer: diagonal in the layout of its block, (size,)}."""
    return matrix.average(lambda evaluation: evaluation.squared_gradients(matrix.output_factor(evaluation)))


@cv.build.dispatch
def build(method: DiagonalMethod, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """The diagonal in the flat order."""
    partition = structure.partition
    columns = [statistics[block.name][:, None] for block in partition.blocks]
    entries = partition.scatter(structure.backend.xp, columns)[:, 0]
    return Diagonal(entries, backend=structure.backend, space=structure.space)
