"""Transformations that multiply scenarios: another reduction, several batches, weights, another order of the examples."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from ..scenario import Scenario


def summed(scenario: Scenario) -> Scenario:
    """The sum over examples for the mean: everything is Σ w_n times as large."""
    references = scenario.references
    return replace(
        scenario,
        name=f"{scenario.name}+sum",
        summary=f"{scenario.summary}; reduction 'sum'",
        reduction="sum",
        references=references.reweighted(references.share * scenario.total_weight),
    )


def batched(scenario: Scenario, *sizes: int) -> Scenario:
    """The same data as a list of batches of the given sizes: nothing changes."""
    if sum(sizes) != scenario.size:
        raise ValueError(f"batches of {sizes} do not make up {scenario.size} examples")
    return replace(scenario, name=f"{scenario.name}+batches", summary=f"{scenario.summary}; in batches of {sizes}", batches=sizes)


def weighted(scenario: Scenario, weights: np.ndarray, label: str = "weights") -> Scenario:
    """Examples with weights (0 masks one); for a mean."""
    return replace(
        scenario,
        name=f"{scenario.name}+{label}",
        summary=f"{scenario.summary}; weights {np.round(weights, 3).tolist()}",
        weights=weights,
        references=scenario.references.reweighted(weights / weights.sum()),
    )


def permuted(scenario: Scenario, order: np.ndarray) -> Scenario:
    """Example ``order[n]`` in place n, with its inputs, target, weight and references: sums over examples stay."""
    if scenario.batches or sorted(order) != list(range(scenario.size)):
        raise ValueError(f"{scenario.name}: {order} is no order of {scenario.size} examples in one batch")
    references = scenario.references
    return replace(
        scenario,
        name=f"{scenario.name}+permuted",
        summary=f"{scenario.summary}; the examples in the order {np.asarray(order).tolist()}",
        x=None if scenario.x is None else scenario.x[order],
        y=scenario.y[order],
        weights=None if scenario.weights is None else scenario.weights[order],
        references=replace(references, **{field.name: getattr(references, field.name)[order] for field in fields(references)}),
    )
