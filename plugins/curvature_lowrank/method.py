"""Low rank, and low rank plus diagonal: what is estimated, and what is built of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import curvature as cv
from curvature.operators import LowRank

from .eigenpairs import of_lanczos, of_power_iterations
from .options import LowRankMethod, LowRankPlusDiagonalMethod
from .sketch import nystrom
from .widths import sketched

__all__ = ["LowRankMethod", "LowRankPlusDiagonalMethod"]

Array = Any
Tree = Any
Steps = Generator[Any, Any, Any]

CHUNK = 2**24
"""About how many numbers a product may hold."""

DENSE = 2000
"""Largest matrix known by its products whose diagonal is taken from all of its columns."""


@cv.estimate.dispatch
def estimate(matrix: cv.Operator, method: LowRankMethod, backend: cv.Backend) -> Any:
    """{"sketch": F Ω (P, width), "core": ΩᵀFΩ}, or {"vectors": (P, k), "values": (k,)}."""
    return _spectral(_checked(matrix, method), method)


@cv.estimate.dispatch
def estimate_with_diagonal(matrix: cv.Operator, method: LowRankPlusDiagonalMethod, backend: cv.Backend) -> Any:
    """The same and {"diagonal": (P,)}."""
    return {**_spectral(_checked(matrix, method), method), "diagonal": _diagonal(matrix)}


@cv.estimate.dispatch
def estimate_of_gauss_newton(matrix: cv.GaussNewtonMatrix, method: LowRankMethod, backend: cv.Backend) -> Steps:
    """{"sketch"} or {"vectors", "values"}: of the gradients of each example where they are few, else of products."""
    few = yield from _few_gradients(matrix, method)
    return _spectral(matrix if few is None else few, method)


@cv.estimate.dispatch
def estimate_of_gauss_newton_with_diagonal(
    matrix: cv.GaussNewtonMatrix, method: LowRankPlusDiagonalMethod, backend: cv.Backend
) -> Steps:
    """The same and {"diagonal": (P,)}, from squared gradients."""
    few = yield from _few_gradients(matrix, method)
    if few is not None:
        return {**_spectral(few, method), "diagonal": few.diagonal()}
    by_layer = yield matrix.squared_gradients
    partition = matrix.problem.structure.partition
    columns = [by_layer[block.name][:, None] for block in partition.blocks]
    return {**_spectral(matrix, method), "diagonal": partition.scatter(backend.xp, columns)[:, 0]}


def _checked(matrix: cv.Operator, method: LowRankMethod) -> cv.Operator:
    if not matrix.symmetric:
        raise cv.NotSymmetricError(f"{method.name!r} is defined for symmetric operators; take (A + A.T) / 2 if that is meant")
    if isinstance(matrix, cv.Hessian) and method.solver == "nystrom":
        raise cv.UnsupportedError(
            f"{method.name!r} by the Nyström method is not defined for a Hessian, which may be indefinite; take "
            f"solver='lanczos', which keeps the eigenvalues largest in magnitude, or curvature.GGN(problem)"
        )
    return matrix


def _spectral(matrix: cv.Operator, method: LowRankMethod) -> Any:
    method.largest_rank(matrix.shape[0])
    if method.solver == "lanczos":
        return of_lanczos(matrix.for_repeated_products(), method)
    if method.power_iterations:
        return of_power_iterations(matrix, method)
    return sketched(matrix, method)


def _few_gradients(matrix: cv.GaussNewtonMatrix, method: LowRankMethod) -> Generator[Any, Any, LowRank | None]:
    """The matrix itself, Σ_n Σ_r j_nr j_nrᵀ, of rank N · R at most, where that is no more columns than would be sketched.

    One backward pass then does what each column of a sketch takes a product for.
    """
    problem, n = matrix.problem, matrix.shape[0]
    most = min(n, method.largest_rank(n) + method.oversampling)
    batch = problem.data.single
    if batch is None or batch.size > most or batch.size * matrix.columns(batch) > most:
        return None
    if any(layer.kind == "general" for layer in problem.structure.layers):
        return None  # their gradients cost a pass for each example
    gradients = yield lambda evaluation: _gradients(matrix, evaluation)
    return LowRank.of_factor(gradients, backend=matrix.backend, space=matrix.space)


def _gradients(matrix: cv.GaussNewtonMatrix, evaluation: Any) -> Array:
    """The gradient of each example and column, (P, N · R)."""
    xp, parts = matrix.xp, []
    for values in matrix.layer_values(evaluation):
        gradients = xp.permute_dims(values.gradients(), (1, 0, 2))
        parts.append(xp.reshape(gradients, (gradients.shape[0], -1)))
    return matrix.problem.structure.partition.scatter(xp, parts)


def _diagonal(matrix: cv.Operator) -> Array:
    """Of a matrix known by its products: from all columns where it is small, otherwise as ``diagonal()`` estimates it."""
    n = matrix.shape[0]
    if type(matrix).diagonal is not cv.Operator.diagonal or n > DENSE:
        return matrix.diagonal()
    xp, parts, step = matrix.xp, [], max(1, CHUNK // max(1, n))
    rows = xp.arange(n, device=matrix.backend.device)
    for start in range(0, n, step):
        unit = xp.astype(rows[:, None] == rows[None, start : min(start + step, n)], matrix.dtype)
        parts.append(xp.sum(unit * (matrix @ unit), axis=0))
    return parts[0] if len(parts) == 1 else xp.concat(parts)


def low_rank(method: LowRankMethod, statistics: Tree, backend: cv.Backend, space: Any = None) -> LowRank:
    """The low-rank part that statistics stand for."""
    if "sketch" in statistics:
        sketch = statistics["sketch"]
        n, width = (int(d) for d in sketch.shape)
        found = nystrom(backend, sketch, statistics["core"])
        k = method.kept(backend, found.values, n)
        if method.rank == "auto" and method.rule == "effective-dimension" and width < n:
            k = min(k, max(1, width - method.oversampling))
        vectors, values = found.vectors[:, :k], found.values[:k]
    else:
        vectors, values = statistics["vectors"], statistics["values"]
    return LowRank(vectors, values, backend=backend, space=space, orthonormal=True)


@cv.build.dispatch
def build(method: LowRankMethod, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """The eigenpairs."""
    return low_rank(method, statistics, structure.backend, structure.space)


@cv.build.dispatch
def build_with_diagonal(method: LowRankPlusDiagonalMethod, statistics: dict, structure: cv.Structure) -> cv.Operator:
    """The eigenpairs and the diagonal of what they leave: what rounding cannot tell from zero is zero."""
    xp, diagonal = structure.backend.xp, statistics["diagonal"]
    part = low_rank(method, statistics, structure.backend, structure.space)
    rest, zero = diagonal - part.diagonal(), xp.zeros_like(diagonal)
    noise = float(xp.finfo(rest.dtype).eps) * (10 + part.rank) * xp.max(xp.abs(diagonal))
    rest = xp.where(xp.abs(rest) > noise, rest, zero)
    # A negative rest of a positive semidefinite matrix is an error of estimation.
    semidefinite = xp.all(part.values >= 0) & xp.all(diagonal >= 0)
    return part.plus(xp.where(semidefinite & (rest < 0), zero, rest))
