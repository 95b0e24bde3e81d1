"""An approximation of a matrix: determinism, statistics that merge, what stays as it was, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np

import curvature as cv

from ..cases.on_scenario import Case
from ..checklist import CONTRACT, check
from ..failures import CheckFailure, deviation, expect
from ..scenario import FISHER_TYPE
from ..theory import REFUSES_HESSIAN
from .problems import require_unchanged


@check("approximation", "method", source=CONTRACT)
def the_same_twice(case: Case) -> None:
    """The approximation of one matrix is the same each time it is made."""
    for name in ("fisher", "monte-carlo-fisher"):
        first, second = case.dense(case.approximation(name)), case.dense(case.approximation(name))
        expect(
            deviation(second, first) <= 1e-3 * case.setting.tolerance,
            f"approximate({name}), twice",
            f"relative deviation {deviation(second, first):.1e}",
            formula="the same operator",
            causes="random probes without a seed, statistics that are kept from the call before",
        )


@check("approximation", "method", source=CONTRACT)
def parameters_and_data_stay_as_they_are(case: Case) -> None:
    """Estimating, building, solving and taking powers write into neither the parameters nor the data."""
    for name in FISHER_TYPE:
        operator = case.approximation(name)
    vector = case.vector()
    v = case.array(vector)
    operator.solve(v, damping=1.0)
    operator @ v
    case.close(v, vector, "the vector after solve and @", formula="as it was", causes="an in-place write")
    require_unchanged(case)


@check("approximation", "method", source=CONTRACT)
def no_step_without_damping_changes(case: Case) -> None:
    """method.damped(0) is the method itself as far as the operator goes, and leaves no damping over."""
    method = case.setting.approximation
    assert method is not None
    damped, rest = method.damped(0.0)
    expect(isinstance(damped, cv.Approximation), "damped(0.0)", repr(damped), formula="(method, remaining damping)")
    expect(float(rest) == 0.0, "the damping that damped(0.0) leaves to solve", repr(rest), formula="0")
    expected = case.dense(case.approximation())
    found = cv.approximate(case.matrix("fisher"), damped)
    case.close(
        found.to_dense(), expected, "approximate(F, method.damped(0.0)[0])", formula="approximate(F, method)", tolerance=10
    )


def _in_parts(case: Case) -> bool:
    return case.scenario.size > 2 and not case.scenario.batches


def _in_three(case: Case) -> bool:
    """Whether the first, the last, and the other examples can each stand alone."""
    weights = case.scenario.weights
    return _in_parts(case) and (weights is None or bool(weights[0] > 0 and weights[-1] > 0))


def _part(case: Case, rows: slice) -> tuple[Any, float]:
    """Statistics of the Fisher of some of the examples, and their share of all."""
    method, scenario = case.setting.approximation, case.scenario
    assert method is not None
    weights = np.ones(scenario.size) if scenario.weights is None else scenario.weights
    part = case.with_scenario(
        x=None if scenario.x is None else scenario.x[rows],
        y=scenario.y[rows],
        weights=None if scenario.weights is None else weights[rows],
        reduction="mean",
    )
    statistics = cv.estimate(part.matrix("fisher"), method, part.problem.backend)
    return statistics, float(weights[rows].sum() / weights.sum())


def _merged(case: Case) -> cv.Operator:
    """The operator of the statistics of two parts of the data, merged with their shares."""
    method = case.setting.approximation
    assert method is not None
    statistics, shares = zip(*(_part(case, rows) for rows in (slice(0, 1), slice(1, None))), strict=True)
    return _built(case, method.merge(list(statistics), list(shares)))


def _built(case: Case, statistics: Any) -> cv.Operator:
    """The operator of statistics of the Fisher of the mean loss."""
    mean = case.with_scenario(reduction="mean")
    found: cv.Operator = cv.build(case.setting.approximation, statistics, mean.problem.structure.of(mean.matrix("fisher")))
    return found


@check(
    "approximation",
    "method",
    applies=lambda case: _in_parts(case) and case.setting.approximation.merges == "exact",
    source="Chan, Golub and LeVeque 1983: averages of parts",
)
def statistics_merge(case: Case) -> None:
    """Statistics of two parts of the data, merged with their shares, make the operator of the whole."""
    mean = case.with_scenario(reduction="mean")
    case.close(
        _merged(case).to_dense(),
        case.dense(mean.approximation()),
        "the operator of merged statistics",
        formula="the operator of the statistics of all data: statistics are averages over examples, so they merge by "
        "weighted average (override Approximation.merge where they do not, or say merges = 'approximate')",
        causes="products or inverses stored as statistics",
        tolerance=10,
    )


@check(
    "approximation",
    "method",
    applies=lambda case: _in_three(case) and case.setting.approximation.merges == "exact",
    source="Chan, Golub and LeVeque 1983: averages of parts",
)
def merging_is_associative(case: Case) -> None:
    """Three parts merged as ((a, b), c) and as (a, (b, c)), with the shares that go with it, make one operator."""
    method = case.setting.approximation
    assert method is not None
    n = case.scenario.size
    (a, p), (b, q), (c, r) = (_part(case, rows) for rows in (slice(0, 1), slice(1, n - 1), slice(n - 1, n)))
    left = method.merge([method.merge([a, b], [p / (p + q), q / (p + q)]), c], [p + q, r])
    right = method.merge([a, method.merge([b, c], [q / (q + r), r / (q + r)])], [p, q + r])
    case.close(
        _built(case, left).to_dense(),
        case.dense(_built(case, right)),
        "the operators of ((a, b), c) and of (a, (b, c))",
        formula="one and the same: a weighted average is associative, so batches can come in any grouping and on any number of "
        "devices",
        causes="a merge that renormalises the shares, or that averages something that is no average over examples",
        tolerance=10,
    )


@check(
    "approximation",
    "method",
    applies=lambda case: _in_parts(case) and case.setting.approximation.merges == "approximate",
    source=CONTRACT,
)
def statistics_merge_nearly(case: Case) -> None:
    """Statistics merged with themselves make the same operator; those of two parts one as large as that of the whole."""
    method = case.setting.approximation
    assert method is not None
    mean = case.with_scenario(reduction="mean")
    matrix = mean.matrix("fisher")
    whole = case.dense(mean.approximation())
    statistics = cv.estimate(matrix, method, case.problem.backend)
    twice = _built(case, method.merge([statistics, statistics], [0.25, 0.75]))
    case.close(
        twice.to_dense(),
        whole,
        "the operator of statistics merged with themselves",
        formula="the operator of those statistics, whatever the shares",
        causes="shares that are applied twice, or to a part of the statistics only",
        tolerance=100,
    )
    ratio = float(np.trace(case.dense(_merged(case)))) / float(np.trace(whole))
    expect(
        1 / 3 <= ratio <= 3,
        "trace of the operator of merged statistics / trace of that of the whole",
        f"{ratio:.4g}",
        formula="about 1",
        causes="shares that are left out, or applied twice",
    )


@check("approximation", "method", capability="hvp", source="Martens 2020, section 8: a Hessian is no sum of Jᵀ S Sᵀ J")
def a_hessian_is_approximated_or_refused(case: Case) -> None:
    """The Hessian, which may be indefinite, is either approximated by a symmetric operator or refused by UnsupportedError."""
    label = case.setting.label
    try:
        operator = cv.approximate(case.matrix("hessian"), case.setting.approximation)
    except cv.UnsupportedError as error:
        expect(
            "Hessian" in str(error),
            "the message of the refusal",
            str(error),
            formula="a message that names the Hessian and what to use instead",
        )
        return
    expect(
        label not in REFUSES_HESSIAN,
        f"approximate(Hessian(problem), {label!r})",
        repr(operator),
        formula="UnsupportedError: the method needs E[Jᵀ S Sᵀ J], and a Hessian has no such form",
        causes="a method of curvature.estimate for every Operator instead of GaussNewtonMatrix",
    )
    dense = case.dense(operator)
    if not np.all(np.isfinite(dense)):
        raise CheckFailure("the approximation of a Hessian", "NaN or infinite entries")
    case.close(operator.T.to_dense(), dense, "A.T of a Hessian's approximation", formula="A: a Hessian is symmetric")
