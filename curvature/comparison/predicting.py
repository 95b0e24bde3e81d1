"""What an approximation is predicted to take: counted from the layers, or measured on a few examples."""

from __future__ import annotations

import statistics
import warnings
from dataclasses import replace

from ..approximation import Approximation, Layout, approximate
from ..errors import CurvatureError
from ..matrices import CurvatureMatrix
from .making import timed
from .memory import held_bytes
from .subsets import subset
from .suggestion import Option

SIDE = 768
"""Rows and columns of the matrices whose product is timed."""

FEW = (4, 16)
"""Numbers of examples on which an approximation is measured that does not say what it takes."""


def calibrated(matrix: CurvatureMatrix, layout: Layout) -> tuple[Layout, float, float]:
    """(the layout with its overhead, seconds of one operation of a product of matrices, seconds of one gradient)."""
    gradient, rate = gradient_seconds(matrix), seconds_per_flop(matrix)
    return replace(layout, overhead=gradient / (rate * layout.gradient)), rate, gradient


def gradient_seconds(matrix: CurvatureMatrix) -> float:
    """The median of five; the first one, in which programs are compiled and memory is taken, is left out."""
    taken = [timed(matrix, matrix.problem.loss_and_gradient)[0] for _ in range(6)]
    return statistics.median(taken[1:])


def seconds_per_flop(matrix: CurvatureMatrix) -> float:
    """In a product of two matrices of the problem's dtype, on its device."""
    a = matrix.backend.rng(0).normal((SIDE, SIDE), dtype=matrix.dtype)
    taken = [timed(matrix, lambda: a @ a)[0] for _ in range(4)]
    return min(taken) / (2.0 * SIDE**3)


def predicted(matrix: CurvatureMatrix, layout: Layout, label: str, method: Approximation, rate: float, seed: int) -> Option:
    """What a method takes."""
    try:
        cost = method.cost(layout)
        if cost is not None:
            return Option(label, method, cost.bytes + cost.bytes_solving, cost.flops * rate, "counted", cost.detail)
        bytes_, taken = _extrapolated(matrix, layout, method, seed)
    except CurvatureError as error:
        return Option(label, method, excluded=str(error))
    return Option(label, method, bytes_, taken, "measured")


def _extrapolated(matrix: CurvatureMatrix, layout: Layout, method: Approximation, seed: int) -> tuple[int, float]:
    """(bytes, seconds) on all examples, from two small numbers of them: both are taken to be linear in the number."""
    sizes = sorted({min(n, layout.examples) for n in FEW})
    found = []
    for n in sizes:
        few = matrix.at(subset(matrix.problem, layout.examples, n, seed))
        _make(few, method)  # what is found or compiled once is not what it takes
        taken, held = zip(*(_make(few, method) for _ in range(2)), strict=True)
        found.append((min(taken), max(held)))
    (first, held), (last, more) = found[0], found[-1]
    if len(sizes) == 1:
        return held, first
    further = (layout.examples - sizes[0]) / (sizes[-1] - sizes[0])
    return held + round(max(more - held, 0) * further), first + max(last - first, 0.0) * further


def _make(matrix: CurvatureMatrix, method: Approximation) -> tuple[float, int]:
    """(seconds to make an approximation and solve with it, bytes that it then holds)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made, operator = timed(matrix, lambda: approximate(matrix, method))
        rhs = matrix.xp.ones((matrix.shape[0],), dtype=matrix.dtype, device=matrix.backend.device)
        damping = float(operator.norm()) or 1.0  # large enough for any structure
        solved, _ = timed(matrix, lambda: operator.solve(rhs, damping))
    return made + solved, held_bytes(operator)
