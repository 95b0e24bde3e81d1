"""How many columns are sketched: a number, or as many as a rule takes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import curvature as cv
from curvature import linalg
from curvature.operators import LowRank, MatrixFree

from .options import LowRankMethod
from .sketch import core_of, directions, nystrom

Array = Any

START = 16
"""Columns with which the certified rule begins, besides the oversampling."""

PROBES = 8
"""Random vectors with which the norm of what a sketch misses is bounded."""

SLACK = 1.02
"""The norm of what is left out is measured from below, to about a hundredth."""


def sketched(matrix: cv.Operator, method: LowRankMethod) -> dict[str, Array]:
    """{"sketch": F Ω, "core": ΩᵀFΩ} with as many columns as the options say."""
    n, backend = matrix.shape[0], matrix.backend
    most = min(n, method.largest_rank(n) + method.oversampling)
    if method.rank != "auto" or method.damping is None:
        return _both(backend, matrix._matmat, directions(backend, method.seed, n, most, matrix.dtype))
    counted: Any = linalg.Counted(matrix, text=f"{method.name} approximation")
    if method.rule == "effective-dimension":
        rank = effective_rank(matrix, method)
        width = min(n, rank + method.oversampling)
        return _both(backend, counted._matmat, directions(backend, method.seed, n, width, matrix.dtype))
    return _certified(matrix, counted, method, most)


def _both(backend: cv.Backend, product: Callable[[Array], Array], omega: Array) -> dict[str, Array]:
    sketch = product(omega)
    return {"sketch": sketch, "core": core_of(backend, omega, sketch)}


def _certified(matrix: cv.Operator, counted: Any, method: LowRankMethod, most: int) -> dict[str, Array]:
    """Columns are doubled until what is left out, and what the sketch misses, is at most ε · damping."""
    backend, n = matrix.backend, matrix.shape[0]
    width = min(most, START + method.oversampling)
    omega = directions(backend, method.seed, n, width, matrix.dtype)
    sketch = counted._matmat(omega)
    while True:
        core = core_of(backend, omega, sketch)
        near = nystrom(backend, sketch, core)
        k = method.kept(backend, near.values, n)
        enough = first_left(near.values, k) <= method.cut and (width == n or k + method.oversampling <= width)
        if enough or width == most:
            missed = 0.0 if width == n else norm_of_rest(matrix, near, method)
            if width == most:
                warn_unless_certified(method, n, missed + first_left(near.values, k))
            if width == most or missed <= method.cut:
                return {"sketch": sketch, "core": core}
        width = min(2 * width, most)
        omega = directions(backend, method.seed, n, width, matrix.dtype)
        sketch = backend.xp.concat([sketch, counted._matmat(omega[:, int(sketch.shape[1]) :])], axis=1)


def first_left(values: Array, k: int) -> float:
    """The size of the first eigenvalue that is left out."""
    return abs(float(values[k])) if int(values.shape[0]) > k else 0.0


def rest_of(matrix: cv.Operator, near: LowRank) -> MatrixFree:
    """F - F_l, known by its products."""

    def product(v: Array) -> Array:
        return matrix._matmat(v) - near._matmat(v)

    return MatrixFree(product, matrix.shape[0], dtype=matrix.dtype, backend=matrix.backend)


def norm_of_rest(matrix: cv.Operator, near: LowRank, method: LowRankMethod) -> float:
    """‖F - F_l‖₂: a bound from random probes where that is small enough, else measured by the Lanczos method.

    ‖E‖ ≤ 10 √(2/π) max_i ‖E ω_i‖ for Gaussian ω_1 … ω_m, but for a chance of 10⁻ᵐ (Halko, Martinsson and Tropp 2011, eq.
    4.3). What is left at the level of rounding is not symmetric, so no Lanczos method applies to it: a power iteration does.
    """
    backend, xp, n = matrix.backend, matrix.xp, matrix.shape[0]
    rest, probes = rest_of(matrix, near), backend.rng(method.seed).split(1)[0].normal((n, min(n, PROBES)), dtype=matrix.dtype)
    image = rest._matmat(probes)
    bound = 10 * math.sqrt(2 / math.pi) * float(xp.max(xp.sqrt(xp.sum(image * image, axis=0))))
    if bound <= method.cut:
        return bound
    size = 0.0
    largest = float(near.values[0]) if near.rank else 0.0
    rounding = 10 * float(xp.finfo(matrix.dtype).eps) ** 0.75 * largest
    for _ in range(3):
        image = rest._matmat(xp.linalg.qr(image, mode="reduced")[0])
        size = max(size, float(xp.max(xp.linalg.svdvals(image))))
        if size > rounding:
            return SLACK * float(linalg.spectral_norm(rest, tolerance=0.01, seed=method.seed).value)
    return size


def warn_unless_certified(method: LowRankMethod, n: int, left: float) -> None:
    """Say which ε was reached, if it is not the one asked for."""
    assert method.damping is not None
    reached = left / method.damping
    if reached <= method.epsilon:
        return
    warnings.warn(
        f"{method.name}: of rank {method.largest_rank(n)} (max_rank) the approximation leaves out up to {left:.3g}, which is "
        f"{reached:.3g} of the damping {method.damping:.3g} and not the {method.epsilon:.3g} that epsilon asks for: the damped "
        f"inverse is off by up to {reached / (1 + reached):.2g} of 1 / damping; raise max_rank, epsilon or the damping",
        cv.CurvatureWarning,
        stacklevel=2,
    )


def effective_rank(matrix: cv.Operator, method: LowRankMethod) -> int:
    """2 ⌈1.5 d⌉ + 1 with d = tr F (F + damping·I)⁻¹, at most ``max_rank``: then a warning says what it would take."""
    damping, n, xp = method.damping, matrix.shape[0], matrix.xp
    assert damping is not None
    estimate = linalg.trace_of_function(
        matrix, lambda values: xp.abs(values) / (xp.abs(values) + damping), tolerance=0.05, seed=method.seed
    )
    dimension = max(0.0, float(estimate.value))
    rank = min(n, 2 * math.ceil(1.5 * dimension) + 1)
    most = method.largest_rank(n)
    if rank > most:
        warnings.warn(
            f"{method.name}: the effective dimension at damping {damping:.3g} is {dimension:.3g}, for which the rank would be "
            f"{rank}; {most} are kept (max_rank)",
            cv.CurvatureWarning,
            stacklevel=2,
        )
    return min(rank, most)
