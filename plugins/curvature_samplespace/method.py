"""A Fisher-type matrix on the side of the examples."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import curvature as cv

from . import algebra  # noqa: F401  (sums, products and files of the operator)
from .costs import sample_space_cost
from .operator import SampleSpaceOperator
from .rows import Collected, centred_rows, compressed, stacked
from .side import MatrixFreeSide, RowsSide

Array = Any


@dataclass(frozen=True)
class SampleSpace(cv.Approximation):
    """F = J̃ᵀ J̃ itself, exact, with all linear algebra on the N·R × N·R Gram matrix K = J̃ J̃ᵀ instead of P × P.

    (F + λI)⁻¹ v = (v - J̃ᵀ (K + λI)⁻¹ J̃ v) / λ (Woodbury 1950), det(F + λI) = λ^(P - N·R) det(K + λI) (Sylvester), and the
    eigenvectors of F are J̃ᵀ u / √λ. It pays where examples times columns of the output factor are fewer than parameters. Under
    a moving average rows of several steps are kept together, up to P of them: take ``decay=0`` there where P is large.

    Attributes:
        storage: "rows" keeps J̃ as an array (N·R, P): it merges, moves and can be saved. "matrix-free" keeps K and takes
            products with J̃ through the model: for many parameters. "auto": rows where they fit ``memory``.
        memory: bytes that the rows may take; by default 134 MB, beyond which the Gram matrix of the layers' inputs and
            cotangents and products through the model are much the quicker.
        rcond: a solve, an inverse or a negative power without damping is the pseudo-inverse (or its power), with eigenvalues
            below rcond · λ_max as zeros. By default such a solve raises ``SingularMatrixError``.
        centred: rows of J̃ minus their weighted mean, column by column of the output factor: the matrix of stochastic
            reconfiguration, the covariance of log-derivatives.

    Source: the identity is classical; Chen and Heyl (2024) made it minSR.
    """

    name: ClassVar[str] = "sample-space"
    merges: ClassVar[Literal["exact", "approximate"]] = "exact"
    storage: Literal["auto", "rows", "matrix-free"] = "auto"
    memory: int = 2**27
    rcond: float | None = None
    centred: bool = False

    def __post_init__(self) -> None:
        if self.storage not in ("auto", "rows", "matrix-free"):
            raise cv.DataError(f"sample-space: storage is 'auto', 'rows' or 'matrix-free', got {self.storage!r}")
        if not self.memory > 0:
            raise cv.DataError(f"sample-space: memory is a positive number of bytes, got {self.memory}")
        if self.rcond is not None and not 0 <= self.rcond < 1:
            raise cv.DataError(f"sample-space: rcond lies in [0, 1) or is None, got {self.rcond}")

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return sample_space_cost(self, layout)

    def merge(self, statistics: list[Any], weights: list[Any]) -> Any:
        """All rows, those of each part times √weight: exact. More rows than parameters become as many by a QR decomposition.

        Raises:
            UnsupportedError: for matrix-free statistics, and if the rows outgrow ``memory``.
        """
        if len(statistics) != len(weights) or not statistics:
            raise cv.DataError(f"{len(statistics)} statistics and {len(weights)} weights; give one weight for each")
        if any("gram" in part for part in statistics):
            raise cv.UnsupportedError(
                "sample-space: Gram matrices of two sets of data do not merge, since they hold no products between the two; "
                "take storage='rows' (and decay=0 in an optimiser, which then need not merge)"
            )
        xp = cv.namespace(statistics[0]["rows"])
        merged = compressed(cv.backend_of(statistics[0]["rows"]), stacked(xp, statistics, [weight**0.5 for weight in weights]))
        rows, size = merged["rows"].shape
        needed = int(rows) * int(size) * _width(xp, merged["rows"].dtype)
        if needed > self.memory:
            raise cv.UnsupportedError(
                f"sample-space: {rows} merged rows for {size} parameters take {needed} bytes, more than memory={self.memory}; "
                f"raise it, or merge nothing (decay=0 in an optimiser)"
            )
        return merged


def _width(xp: Any, dtype: Any) -> int:
    return int(xp.finfo(dtype).bits) // 8


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: SampleSpace, backend: cv.Backend) -> Any:
    """{"rows": J̃ (m, P)}, with {"weights": √w of the rows, (m, R)} where they are to be centred; or {"gram": K}.

    m is N·R or, where that is more than the number of columns, as many as columns: then the rows are those of a QR
    decomposition, and J̃ᵀ J̃ is the same.
    """
    problem, width = matrix.problem, _width(backend.xp, matrix.dtype)
    sizes, columns = [], 0
    for batch in problem.batches():
        columns = columns or matrix.columns(batch)
        sizes.append(batch.size)
    if not _keeps_rows(method, sum(sizes), columns, matrix.shape[0], width):
        return {"gram": cv.Gram(matrix, centred=method.centred).array}
    collected = Collected(matrix, method.memory // width, centred=method.centred)
    yield collected
    return collected.statistics()


def _keeps_rows(method: SampleSpace, examples: int, columns: int, size: int, width: int) -> bool:
    """Whether J̃ is kept as an array."""
    rows = examples * columns
    if rows >= size:
        warnings.warn(
            f"sample-space: {examples} examples with {columns} columns of the output factor make {rows} rows, no fewer than the "
            f"{size} parameters: the side of the parameters is the smaller one, 'exact' gives the same for less",
            cv.CurvatureWarning,
            stacklevel=4,
        )
    needed = min(rows, size) * size * width
    if needed <= method.memory and method.storage != "matrix-free":
        return True
    if method.storage == "rows":
        raise cv.UnsupportedError(
            f"sample-space: {rows} rows for {size} parameters take {needed / 1e9:.3g} GB, more than memory={method.memory} "
            f"bytes; raise it, or take storage='matrix-free'"
        )
    return False


@cv.build.dispatch
def build(method: SampleSpace, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """The operator J̃ᵀ J̃.

    Raises:
        UnsupportedError: matrix-free, without the matrix that was approximated.
    """
    if "rows" in statistics:
        rows = centred_rows(structure.backend.xp, statistics)
        return SampleSpaceOperator(RowsSide(rows, structure.backend, space=structure.space, rcond=method.rcond))
    matrix = getattr(structure, "matrix", None)
    if matrix is None:
        raise cv.UnsupportedError(
            "sample-space: without rows products are those of the matrix itself, which is not known here; make the operator by "
            "curvature.approximate(matrix, ...), or take storage='rows'"
        )
    gram = cv.Gram(matrix, centred=method.centred, array=statistics["gram"])
    return SampleSpaceOperator(MatrixFreeSide(gram, matrix, rcond=method.rcond))
