"""An approximation as a method: frozen options, statistics, determinism, what it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np

import curvature as cv

from ..case import Case
from ..checklist import check
from ..failures import CheckFailure, deviation, expect
from ..scenario import FISHER_TYPE
from ..theory import REFUSES_HESSIAN
from .problems import require_unchanged

_METHODS = {
    "@": "__matmul__",
    "+": "__add__",
    "number *": "__rmul__",
    "T": "T",
    **{
        name: name
        for name in (
            "solve",
            "inverse",
            "power",
            "logdet",
            "trace",
            "diagonal",
            "norm",
            "eigh",
            "sample",
            "block",
            "to_dense",
            "to",
            "shape",
            "dtype",
            "structure",
            "scaled",
        )
    },
}


@check("approximation", "method")
def a_frozen_dataclass(case: Case) -> None:
    """A method is an immutable dataclass of options, equal to another with the same options, and can be made from its class."""
    method = case.setting.approximation
    kind = type(method)
    parameters = getattr(kind, "__dataclass_params__", None)
    expect(isinstance(method, cv.Approximation), "the method", repr(kind), formula="a subclass of curvature.Approximation")
    expect(
        parameters is not None and parameters.frozen,
        f"{kind.__name__}",
        "not a frozen dataclass",
        formula="@dataclass(frozen=True): options cannot change under an optimiser's feet",
    )
    assert method is not None
    same = dataclasses.replace(method)  # type: ignore[type-var]
    expect(same == method, "dataclasses.replace(method)", repr(same), formula=repr(method))


@check("approximation", "method")
def every_operation_is_there(case: Case) -> None:
    """What approximate() returns is an operator of the right shape, dtype and backend with every operation."""
    operator = case.approximation()
    expect(isinstance(operator, cv.Operator), "approximate(F, method)", repr(type(operator)), formula="a curvature.Operator")
    absent = [label for label, name in _METHODS.items() if not hasattr(operator, name)]
    expect(not absent, "operations", f"without {absent}", formula="all of them: the algebra is closed")
    shape = (case.size, case.size)
    expect(operator.shape == shape, "shape", str(operator.shape), formula=str(shape))
    wanted = getattr(case.setting.xp, case.setting.dtype)
    expect(
        operator.dtype == wanted,
        "dtype",
        str(operator.dtype),
        formula=case.setting.dtype,
        causes="statistics stored in another precision",
    )
    expect(
        operator.backend.name == case.problem.backend.name, "backend", operator.backend.name, formula=case.problem.backend.name
    )
    expect(
        isinstance(operator.structure, str) and bool(operator.structure),
        "structure",
        repr(operator.structure),
        formula="its name",
    )


@check("approximation", "method")
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


@check("approximation", "method")
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


@check("approximation", "method")
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


def _merged(case: Case) -> cv.Operator:
    """The operator of the statistics of two parts of the data, merged with their shares."""
    method, scenario = case.setting.approximation, case.scenario
    assert method is not None
    weights = np.ones(scenario.size) if scenario.weights is None else scenario.weights
    statistics, shares = [], []
    for rows in (slice(0, 2), slice(2, None)):
        part = case.with_scenario(
            x=None if scenario.x is None else scenario.x[rows],
            y=scenario.y[rows],
            weights=None if scenario.weights is None else weights[rows],
            reduction="mean",
        )
        statistics.append(cv.estimate(part.matrix("fisher"), method, part.problem.backend))
        shares.append(float(weights[rows].sum() / weights.sum()))
    structure = case.problem.structure.of(case.with_scenario(reduction="mean").matrix("fisher"))
    merged: cv.Operator = cv.build(method, method.merge(statistics, shares), structure)
    return merged


@check("approximation", "method", applies=lambda case: _in_parts(case) and case.setting.approximation.merges == "exact")
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


@check("approximation", "method", applies=lambda case: _in_parts(case) and case.setting.approximation.merges == "approximate")
def statistics_merge_nearly(case: Case) -> None:
    """Statistics merged with themselves make the same operator; those of two parts one as large as that of the whole."""
    method = case.setting.approximation
    assert method is not None
    mean = case.with_scenario(reduction="mean")
    matrix = mean.matrix("fisher")
    whole = case.dense(mean.approximation())
    statistics = cv.estimate(matrix, method, case.problem.backend)
    twice = cv.build(method, method.merge([statistics, statistics], [0.25, 0.75]), mean.problem.structure.of(matrix))
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


@check("approximation", "method", capability="hvp")
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
