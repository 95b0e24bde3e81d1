"""Approximations are made, and timed: each once in every round, in a new order, so that drift of the machine hits all."""

from __future__ import annotations

import random
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..approximation import approximate
from ..errors import CurvatureError, UnsupportedError
from ..linalg.progress import Meter
from ..operators import Operator
from .candidates import Candidate, label_of
from .memory import arrays_of, held_bytes

Array = Any

SOLVES = 3
"""How often a solve is repeated for its time."""


@dataclass
class Made:
    """An approximation that was made, or the reason why it cannot be.

    Attributes:
        operator: the first that was made; None where it was refused.
        refused: why.
        given: whether the operator was there already.
        bytes: what it held when it was new.
        seconds, first, solve: of each round; empty where nothing was timed or a solve fails.
    """

    label: str
    method: str
    operator: Operator | None = None
    refused: str = ""
    given: bool = False
    bytes: int | None = None
    seconds: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    solve: list[float] = field(default_factory=list)


def make_all(
    matrix: Operator,
    candidates: Mapping[str, Candidate],
    rhs: Array,
    damping: float,
    *,
    repeats: int,
    seed: int,
    tell: Callable[[str], None],
) -> tuple[dict[str, Made], list[float]]:
    """{label: what was made}, and the times of the problem's gradient.

    The first round is not timed: there layers are found, programs compiled, memory taken.

    Args:
        rhs: what the timed solves are given, (P,).
        tell: hears of each step.
    """
    found: dict[str, Made] = {}
    for label, candidate in candidates.items():
        tell(f"make {label}")
        found[label] = _made(matrix, label, candidate)
    gradients: list[float] = []
    problem = getattr(matrix, "problem", None)
    order: list[str] = [label for label, made in found.items() if made.operator is not None and not made.given]
    shuffle = random.Random(seed)
    for _ in range(repeats):
        shuffle.shuffle(order)
        if problem is not None:
            gradients.append(timed(matrix, problem.loss_and_gradient)[0])
        for label in order:
            tell(f"time {label}")
            _time(matrix, candidates[label], found[label], rhs, damping)
    if repeats:
        for made in found.values():
            if made.given and made.operator is not None:
                _time_solves(made.operator, made, rhs, damping)
    return found, gradients


def _made(matrix: Operator, label: str, candidate: Candidate) -> Made:
    if isinstance(candidate, Operator):
        return Made(label, candidate.structure, candidate, given=True, bytes=held_bytes(candidate))
    method = label_of(candidate)
    try:
        operator = approximate(matrix, candidate)
    except UnsupportedError as error:
        return Made(label, method, refused=str(error))
    return Made(label, method, operator, bytes=held_bytes(operator))


def _time(matrix: Operator, candidate: Candidate, made: Made, rhs: Array, damping: float) -> None:
    # What there is to warn of was said when it was made the first time.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds, operator = timed(matrix, lambda: approximate(matrix, candidate))
        made.seconds.append(seconds)
        _time_solves(operator, made, rhs, damping)


def _time_solves(operator: Operator, made: Made, rhs: Array, damping: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            first = timed(operator, lambda: operator.solve(rhs, damping))[0]
            others = [timed(operator, lambda: operator.solve(rhs, damping))[0] for _ in range(SOLVES)]
        except (CurvatureError, ArithmeticError):
            return  # the metrics say why
    if not made.given:
        made.first.append(first)
    made.solve.append(statistics.median(others))


def timed(operator: Operator, function: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result); waits for what libraries do behind the program's back."""
    operator.backend.synchronize()
    start = time.perf_counter()
    result = function()
    _finish(operator, result)
    return time.perf_counter() - start, result


def _finish(operator: Operator, result: Any) -> None:
    if isinstance(result, Operator):
        for array in arrays_of(result):
            _wait(array)
    elif isinstance(result, tuple):
        for part in result:
            _finish(operator, part)
    else:
        _wait(result)
    operator.backend.synchronize()


def _wait(array: Any) -> None:
    if hasattr(array, "block_until_ready"):  # of libraries that compute behind the program's back
        array.block_until_ready()


def median(values: list[float]) -> float | None:
    """None of nothing."""
    return statistics.median(values) if values else None


class Steps:
    """Counts the steps of a comparison for its meter."""

    def __init__(self, meter: Meter, total: int) -> None:
        self._meter, self._total, self._done = meter, total, 0

    def __call__(self, text: str) -> None:
        self._meter.tell(self._done, max(self._total, self._done), text)
        self._done += 1
