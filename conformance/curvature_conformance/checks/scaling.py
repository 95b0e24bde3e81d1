"""How the approximation follows the reduction, the weights and the batches of the loss."""

from __future__ import annotations

import numpy as np

from ..cases.on_scenario import Case
from ..checklist import CONTRACT, check
from ..failures import deviation, expect
from ..scenario import FISHER_TYPE
from .matrices import masked_and_absent

_DETERMINISTIC = ("fisher", "ggn", "empirical-fisher")


@check("approximation", "scaling", applies=lambda case: not case.scenario.batches, source=CONTRACT)
def a_sum_is_n_times_a_mean(case: Case) -> None:
    """The approximation for reduction="sum" is Σ w_n times that for "mean", as the matrix is."""
    total = case.scenario.total_weight
    factor = total if case.scenario.reduction == "mean" else 1 / total
    other = case.with_scenario(reduction="sum" if case.scenario.reduction == "mean" else "mean")
    for name in FISHER_TYPE:
        expected = case.dense(case.approximation(name)) * factor
        case.close(
            other.approximation(name).to_dense(),
            expected,
            f"the approximation of the {name} with reduction={other.scenario.reduction!r}",
            formula=f"{factor:.4g} times that with {case.scenario.reduction!r}: an approximation has the scale of loss()",
            causes="a factor N in each Kronecker factor (N² in the product) or in none, a mean that is taken always",
        )


@check("approximation", "scaling", applies=lambda case: case.scenario.size > 2 and not case.scenario.batches, source=CONTRACT)
def several_batches_are_one(case: Case) -> None:
    """The approximation of the same data as two batches is that of one batch."""
    split = case.with_scenario(batches=(1, case.scenario.size - 1))
    for name in _DETERMINISTIC:
        case.close(
            split.approximation(name).to_dense(),
            case.dense(case.approximation(name)),
            f"the approximation of the {name} of two batches",
            formula="that of one batch: statistics are averages over all examples",
            causes="batches counted alike whatever their size, only the first or last batch, a sum over batches",
            tolerance=10,
        )


@check("approximation", "scaling", applies=lambda case: case.scenario.size > 2 and not case.scenario.batches, source=CONTRACT)
def an_example_of_weight_zero_is_absent(case: Case) -> None:
    """An example of weight zero has no influence on the approximation."""
    masked, absent = masked_and_absent(case)
    for name in _DETERMINISTIC:
        case.close(
            masked.approximation(name).to_dense(),
            case.dense(absent.approximation(name)),
            f"the approximation of the {name} with a masked example",
            formula="that without the example",
            causes="weights ignored, averages over N instead of Σ w_n",
            tolerance=10,
        )


@check("approximation", "scaling", applies=lambda case: case.scenario.size > 1 and not case.scenario.batches, source=CONTRACT)
def the_order_of_examples_does_not_matter(case: Case) -> None:
    """The approximation of the same examples in the reverse order is the same."""
    scenario = case.scenario
    other = case.with_scenario(
        x=None if scenario.x is None else scenario.x[::-1].copy(),
        y=scenario.y[::-1].copy(),
        weights=None if scenario.weights is None else scenario.weights[::-1].copy(),
    )
    for name in _DETERMINISTIC:
        case.close(
            other.approximation(name).to_dense(),
            case.dense(case.approximation(name)),
            f"the approximation of the {name} of the reversed data",
            formula="that of the data: an average does not know the order",
            causes="inputs paired with another example's gradients",
            tolerance=10,
        )


def _diagonals_differ(case: Case) -> bool:
    references = case.references
    return deviation(np.diag(references.empirical_fisher), np.diag(references.fisher)) > 0.05


@check("approximation", "scaling", applies=_diagonals_differ, source="Kunstner, Hennig and Balles 2019")
def the_empirical_fisher_is_another_matrix(case: Case) -> None:
    """Approximations of the empirical Fisher and of the Fisher differ where the two matrices do."""
    found = deviation(case.dense(case.approximation("empirical-fisher")), case.dense(case.approximation("fisher")))
    expect(
        found > 0.01,
        "approximations of EmpiricalFisher and Fisher",
        f"differ by no more than {found:.1e}",
        formula="two different operators here: the method must take its gradients from matrix.output_factor",
        causes="scores at the data's labels (or the model's own) whatever the matrix",
    )
