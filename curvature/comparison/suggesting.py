"""``suggest``: the approximation that suits a budget of memory and time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

from ..approximation import Approximation, Layout, approximate, certificate, layout_of
from ..errors import DataError
from ..linalg.progress import Meter, Progress
from ..matrices import CurvatureMatrix, Fisher
from ..problem import Problem
from ..registry import approximations
from ..registry.methods import REQUIRED
from .budgets import excluded, too_small, tried
from .candidates import candidates
from .making import Steps
from .natural_gradient import NaturalGradient
from .predicting import calibrated, predicted
from .subsets import subset
from .suggestion import Option, Suggestion
from .table import digits, seconds, size

EXAMPLES = 128
"""How many examples errors are measured on, where all of them would take too long."""

EQUAL = 1.02
"""Errors within this factor count as equal: then the quicker approximation is suggested."""

EFFORT = 10.0
"""Seconds that measuring errors may be predicted to take by default."""


def suggest(
    problem: Problem,
    *,
    memory: float | None = None,
    time: float | None = None,
    matrix: Any = None,
    methods: Any = None,
    damping: float | None = None,
    effort: float = EFFORT,
    seed: int = 0,
    progress: Progress = None,
) -> Suggestion:
    """The approximation of least expected error within a budget; ``print`` the result for all that were considered.

    What each would take is counted from the shapes of the layers (``Approximation.cost``) and set in seconds by the times of
    one gradient and of one product of matrices, which are measured; of an approximation that does not say, it is measured on
    4 and 16 examples and extrapolated. Among those that fit the error is measured, on 128 examples or on all of them if
    ``effort`` allows; errors within 2 % of the least count as equal, and the quickest of these is suggested. Where even 128
    examples would take longer than ``effort``, the order is that of ``curvature.Detail``: the matrix itself, coupled layers,
    blocks of layers, Kronecker products fitted to them, K-FAC's, low rank, the diagonal. (On few examples an approximation
    of low rank looks better than it is.)

    Args:
        memory: bytes that the operator may hold, factorisations for its solves included. What gathering statistics takes in
            passing is not counted.
        time: seconds that it may take from the data to the first solution, at each refresh. Without a budget the matrix
            itself is the best approximation of the matrix.
        matrix: what is approximated: a matrix of the problem, or its class; by default ``curvature.Fisher``.
        methods: what to consider, as in ``curvature.compare``; by default all that are registered.
        damping: δ; then the error is that of the natural gradient, ‖x - x*‖ / ‖x*‖ in the norm of M + δI with
            (M + δI) x* = ∇L, and no longer that of the matrix, ‖A - M‖ / ‖M‖ in the Frobenius norm.
        effort: seconds that measuring errors may be predicted to take (the exact natural gradient not counted); 0 measures
            none.
        seed: of the examples that are drawn.
        progress: see ``curvature.linalg.Progress``.

    Raises:
        DataError: nothing fits the budget (says the smallest that would do), or options that cannot be.
        NotPositiveDefiniteError, ConvergenceError: the matrix has no natural gradient at this damping, or it is not found.
        UnknownApproximationError: no such name.
    """
    _check(problem, memory, time, effort, damping)
    target = _matrix(problem, matrix)
    chosen = _methods(target, methods)
    layout = layout_of(target)
    with Meter(progress) as meter:
        tell = Steps(meter, 1 + 2 * len(chosen))
        tell("one gradient")
        layout, rate, gradient = calibrated(target, layout)
        options = []
        for label, method in chosen.items():
            tell(f"what {label} takes")
            options.append(predicted(target, layout, label, method, rate, seed))
        options = [excluded(option, memory, time) for option in options]
        options = tried(target, layout, options, seed)
        if all(option.excluded for option in options):
            raise DataError(too_small(target, layout, options, memory, time, seed))
        options, where = _measured(target, layout, options, rate, effort, seed, tell, damping)
    best = _best(options)
    return Suggestion(best.label, best.method, _reasons(best, options, where, memory, time, damping), tuple(options), gradient)


def _check(problem: Any, memory: Any, time: Any, effort: Any, damping: Any) -> None:
    if not isinstance(problem, Problem):
        raise DataError(f"suggest takes a curvature.Problem, got a {type(problem).__name__}")
    for name, value, unit in (("memory", memory, "bytes"), ("time", time, "seconds")):
        if value is not None and not (isinstance(value, Real) and float(value) > 0):
            raise DataError(f"{name} is a number of {unit} > 0, or None for no limit; got {value!r}")
    if not (isinstance(effort, Real) and float(effort) >= 0):
        raise DataError(f"effort is a number of seconds ≥ 0, got {effort!r}")
    if damping is not None and not (isinstance(damping, Real) and 0 <= float(damping) < float("inf")):
        raise DataError(f"damping is a finite number ≥ 0, or None for the error of the matrix itself; got {damping!r}")


def _matrix(problem: Problem, matrix: Any) -> CurvatureMatrix:
    if matrix is None:
        return Fisher(problem)
    found = matrix(problem) if isinstance(matrix, type) else matrix
    if not isinstance(found, CurvatureMatrix):
        raise DataError(f"matrix is one of the problem's, such as curvature.GGN(problem), or its class; got {matrix!r}")
    return found


def _methods(matrix: CurvatureMatrix, methods: Any) -> dict[str, Approximation]:
    if methods is None:
        infos = [info for info in approximations() if info.status == "usable" and REQUIRED not in info.options.values()]
        methods = [info.name for info in infos]
    found = candidates(matrix, methods)
    for label, one in found.items():
        if not isinstance(one, Approximation):
            raise DataError(f"{label!r} was made already; suggest takes approximations that are yet to be made")
    return found  # type: ignore[return-value]


def _measured(
    matrix: CurvatureMatrix,
    layout: Layout,
    options: Sequence[Option],
    rate: float,
    effort: float,
    seed: int,
    tell: Steps,
    damping: float | None,
) -> tuple[list[Option], str]:
    """The options with their errors, and on what these were measured; "" where there was no time for it."""
    fitting = [option for option in options if not option.excluded]
    some = min(EXAMPLES, layout.examples)
    if effort and sum(_making(option, layout, rate, layout.examples) for option in fitting) <= effort:
        source, where = matrix, f"all {layout.examples} examples"
    elif effort and sum(_making(option, layout, rate, some) for option in fitting) <= effort:
        source, where = matrix.at(subset(matrix.problem, layout.examples, some, seed)), f"{some} examples"
    else:
        return list(options), ""
    exact = None if damping is None else NaturalGradient(source, damping)
    found = []
    for option in options:
        if not option.excluded:
            tell(f"the error of {option.label}")
            if exact is None:
                option = replace(option, error=_error(source, option.method, seed))
            else:
                error = exact.error_of(option.method)
                option = replace(option, error=error.value, excluded=error.reason)
        found.append(option)
    if all(option.excluded for option in found):
        raise DataError(
            f"at damping {damping} no approximation that fits has a natural gradient: "
            + "; ".join(f"{option.label}: {option.excluded}" for option in found)
            + "; raise the damping"
        )
    return found, where


def _making(option: Option, layout: Layout, rate: float, examples: int) -> float:
    """Seconds to make an approximation of so many examples: errors need no solution."""
    cost = option.method.cost(replace(layout, examples=examples))
    if cost is None:
        return (option.seconds or 0.0) * examples / layout.examples
    return (cost.flops_statistics + cost.flops_build) * rate


def _error(matrix: CurvatureMatrix, method: Approximation, seed: int) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        operator = approximate(matrix, method)
        found = certificate(operator, matrix, seed=seed)
    return 0.0 if found.relative_error <= found.resolution else found.relative_error


def _best(options: Sequence[Option]) -> Option:
    fitting = [option for option in options if not option.excluded]
    measured = [option for option in fitting if option.error is not None]
    if not measured:
        return min(fitting, key=lambda option: (option.detail, option.seconds or 0.0))
    least = min(option.error for option in measured if option.error is not None)
    near = [option for option in measured if option.error is not None and option.error <= EQUAL * least]
    return min(near, key=lambda option: option.seconds or 0.0)


def _reasons(
    best: Option,
    options: Sequence[Option],
    where: str,
    memory: float | None,
    time: float | None,
    damping: float | None,
) -> tuple[str, ...]:
    fitting = [option for option in options if not option.excluded]
    lines = []
    if best.error is not None:
        others = sorted(option.error for option in fitting if option.error is not None and option is not best)
        beside = f"; the others that fit have {digits(others[0])} to {digits(others[-1])}" if others else ""
        kind = "relative Frobenius error" if damping is None else f"at damping {damping:g} the natural gradient has an error of"
        lines.append(f"{kind} {digits(best.error)} on {where}{beside}")
        if others and others[0] <= best.error:
            lines.append("the quickest of those whose error is no more than 2 % above the least")
    else:
        lines.append(f"it keeps the most of the matrix of those that fit ({best.detail.name.lower().replace('_', ' ')})")
        lines.append("errors were not measured, which would take longer than effort allows")
    limit = "" if memory is None else f" of {size(memory)}"
    lines.append(f"its operator holds {size(best.bytes or 0)}{limit}, {best.how}")
    limit = "" if time is None else f" of {seconds(time)}"
    lines.append(f"from the data to a solution {seconds(best.seconds or 0.0)}{limit}, {best.how}")
    left = len(options) - len(fitting)
    if left:
        lines.append(f"{left} of {len(options)} were left out")
    return tuple(lines)
