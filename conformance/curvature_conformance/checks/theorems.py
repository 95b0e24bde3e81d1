"""Where an approximation is exact, and where theory says that it cannot be."""

from __future__ import annotations

import numpy as np

import curvature as cv

from ..cases.on_scenario import Case
from ..checklist import check
from ..failures import deviation, expect
from ..theory import NO_FARTHER, theorems

_PARTS = {"matrix": "the matrix", "blocks": "the diagonal blocks by layer", "diagonal": "the diagonal", "trace": "the trace"}


def _matrices(case: Case, names: tuple[str, ...]) -> list[str]:
    hessians = case.setting.backend.capabilities["hvp"].supported
    return [name for name in names if name != "hessian" or hessians]


@check("approximation", "theorems", applies=lambda case: bool(theorems(case, holds=True)), source="named with what is expected")
def exact_where_theory_says_so(case: Case) -> None:
    """The approximation equals the part of the reference for which that is proven."""
    for theorem in theorems(case, holds=True):
        for name in _matrices(case, theorem.matrices):
            reference = case.dense(case.matrix(name)) if name == "monte-carlo-fisher" else case.references.matrix(name)
            operator, whole = case.approximation(name), theorem.part != "trace"
            case.close(
                operator.to_dense() if whole else operator.trace(),
                case.part(reference, theorem.part),
                f"{case.setting.label} of the {name}, {'dense' if whole else 'its trace'}",
                formula=f"{_PARTS[theorem.part]} of the {name}, exactly: {theorem.source}",
                causes="factors transposed or in the wrong order, a bias without its weight, N or the variance counted twice "
                "or not at all, the data's labels in place of the model's own",
            )


@check("approximation", "theorems", applies=lambda case: bool(theorems(case, holds=False)), source="named with what is expected")
def not_exact_where_it_cannot_be(case: Case) -> None:
    """The approximation differs from the matrix where theory says that it must."""
    for theorem in theorems(case, holds=False):
        for name in _matrices(case, theorem.matrices):
            reference = case.part(case.references.matrix(name), theorem.part)
            found = case.part(case.dense(case.approximation(name)), theorem.part)
            gap = deviation(found, reference)
            expect(
                gap > 1e-3,
                f"{case.setting.label} of the {name}",
                f"exact to {gap:.1e}",
                formula=f"a visible difference from {_PARTS[theorem.part]}: {theorem.source}",
                causes="the method computes something else than its name says, for example the exact blocks",
            )


@check(
    "approximation",
    "theorems",
    applies=lambda case: any(t.part == "diagonal" for t in theorems(case, holds=True)),
    source="Golub and Van Loan 2013, section 2.3: the squared norm is a sum over entries",
)
def the_nearest_diagonal_matrix(case: Case) -> None:
    """No other diagonal matrix is nearer to the Fisher in the Frobenius norm: ‖F - D‖² = ‖F‖² - ‖diag F‖²."""
    reference = case.references.fisher
    dense = case.dense(case.approximation())
    error = float(np.sum((reference - dense) ** 2))
    least = float(np.sum(reference**2) - np.sum(np.diag(reference) ** 2))
    scale = float(np.sum(reference**2))
    expect(
        abs(error - least) <= 100 * case.setting.tolerance * scale,
        "‖F - D‖²",
        f"{error:.10g}",
        formula=f"‖F‖² - ‖diag F‖² = {least:.10g}, the least of all diagonal matrices",
        causes="the diagonal of another matrix, rows summed into the diagonal, a factor",
    )


@check(
    "approximation",
    "theorems",
    applies=lambda case: case.scenario.is_plain and case.setting.label in NO_FARTHER,
    source="named with what is expected",
)
def no_farther_than_what_it_improves_on(case: Case) -> None:
    """Block by block the Frobenius error is no larger than that of the approximation that this one improves on."""
    other, reason = NO_FARTHER[case.setting.label]
    reference = case.part(case.references.fisher, "blocks")
    mine = case.dense(case.approximation())
    theirs = case.dense(cv.approximate(case.matrix("fisher"), other))
    for block in case.layer_rows():
        rows = np.ix_(block, block)
        scale = float(np.linalg.norm(reference[rows]))
        errors = [float(np.linalg.norm(found[rows] - reference[rows])) for found in (mine, theirs)]
        expect(
            errors[0] <= errors[1] + 100 * case.setting.tolerance * scale,
            f"‖block - {case.setting.label}‖ of the Fisher",
            f"{errors[0]:.10g}, and ‖block - {other}‖ = {errors[1]:.10g}",
            formula=f"no larger: {reason}",
            causes="a basis or a factor of another matrix, a scaling that is no mean of squares",
        )


@check(
    "approximation",
    "theorems",
    applies=lambda case: case.size == 1 and case.scenario.x is None,
    source="Fisher 1925: of one number the information is a number",
)
def one_number_is_not_approximated(case: Case) -> None:
    """With one parameter and no inputs there is no structure that could be simplified: the approximation is the Fisher."""
    case.close(
        case.approximation().to_dense(),
        case.references.fisher,
        f"{case.setting.label} of a Fisher of one number",
        formula="the number itself, whatever the structure: a method that scales, shifts or floors it says so as a declared gap",
        causes="a factor 2 or ½, N or the variance counted twice or not at all, damping that nobody asked for",
    )


@check("approximation", "theorems", source="Martens and Grosse 2015, section 3")
def as_large_as_the_matrix(case: Case) -> None:
    """The approximation has the order of magnitude of the Fisher: their traces agree to a factor of three."""
    reference = float(np.trace(case.references.fisher))
    ratio = float(np.trace(case.dense(case.approximation()))) / reference
    n = case.scenario.size
    expect(
        1 / 3 <= ratio <= 3,
        "trace of the approximation / trace of the Fisher",
        f"{ratio:.4g} (N = {n}, Σw = {case.scenario.total_weight:g})",
        formula="about 1 (K-FAC does not preserve the trace, but comes near)",
        causes="a sum for a mean or the reverse: the ratio is then N, 1/N or the sum of the weights",
    )
