"""Statistics that are eigenpairs: by the Lanczos method, or of a sketch after power iterations."""

from __future__ import annotations

from typing import Any

import curvature as cv
from curvature import linalg
from curvature.operators import LowRank

from .options import LowRankMethod
from .sketch import core_of, directions, nystrom
from .widths import START, effective_rank, first_left, norm_of_rest, rest_of, warn_unless_certified

Array = Any


def of_lanczos(matrix: cv.Operator, method: LowRankMethod) -> dict[str, Array]:
    """{"vectors", "values"}: the eigenpairs largest in magnitude, as many as the options say."""
    n = matrix.shape[0]
    most = method.largest_rank(n)
    if method.rank != "auto" or method.damping is None:
        return _statistics(_leading(matrix, most, method), most)
    if method.rule == "effective-dimension":
        rank = effective_rank(matrix, method)
        return _statistics(_leading(matrix, rank, method), rank)
    found = _down_to(matrix, min(n, most + 1), method)
    k = method.kept(matrix.backend, found.values, n)
    warn_unless_certified(method, n, first_left(found.values, k))
    return _statistics(found, k)


def of_power_iterations(matrix: cv.Operator, method: LowRankMethod) -> dict[str, Array]:
    """{"vectors", "values"} of the Nyström approximation from an orthonormal basis of F^q Ω."""
    backend, n = matrix.backend, matrix.shape[0]
    adaptive = method.rank == "auto" and method.damping is not None
    rank = effective_rank(matrix, method) if method.rule == "effective-dimension" and adaptive else method.largest_rank(n)
    omega = directions(backend, method.seed, n, min(n, rank + method.oversampling), matrix.dtype)
    for _ in range(method.power_iterations):
        omega = backend.xp.linalg.qr(matrix @ omega, mode="reduced")[0]
    sketch = matrix @ omega
    near = nystrom(backend, sketch, core_of(backend, omega, sketch))
    k = min(rank, method.kept(backend, near.values, n))
    if adaptive and method.rule == "certified":
        warn_unless_certified(method, n, norm_of_rest(matrix, near, method) + first_left(near.values, k))
    return _statistics(near, k)


def _statistics(found: LowRank, k: int) -> dict[str, Array]:
    k = min(k, found.rank)
    return {"vectors": found.vectors[:, :k], "values": found.values[:k]}


def _leading(matrix: cv.Operator, k: int, method: LowRankMethod) -> LowRank:
    """The k eigenpairs largest in magnitude, less those that rounding cannot tell from zero."""
    if isinstance(matrix, LowRank):
        values, vectors = matrix.eigh(k)
    else:
        pairs = linalg.eigenpairs(matrix, k, seed=method.seed)
        values, vectors = pairs.values, pairs.vectors
    return LowRank.of_product(vectors, values, backend=matrix.backend)


def _down_to(matrix: cv.Operator, most: int, method: LowRankMethod) -> LowRank:
    """Eigenpairs until one is small enough to be left out, ``most`` at most: each time those of what is left, twice as many."""
    backend, step = matrix.backend, START
    found = _leading(matrix, min(step, most), method)
    taken = min(step, most)
    while taken < most and found.rank == taken and abs(float(found.values[-1])) > method.cut:
        step = min(2 * step, most - taken)
        further = _leading(rest_of(matrix, found), step, method)
        taken += step
        found = LowRank.of_product(
            backend.xp.concat([found.vectors, further.vectors], axis=1),
            backend.xp.concat([found.values, further.values]),
            backend=backend,
        )
    return found
