"""The scenarios of the suite, and those that plugins add."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from curvature.registry import API

from ..declared import answers
from ..scenario import Scenario
from . import (
    conditioning,
    convolutional,
    deep_linear,
    linear_models,
    networks,
    other_parameters,
    regressions,
    shared_weights,
    transformers,
)
from .coordinates import reparametrised, reparametrised_affine
from .transformations import batched, permuted, summed, weighted

_WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0, 1.5, 0.25, 3.0, 0.75])
_QUICK = (
    "no-inputs/one-number",
    "one-datum/tanh",
    "tanh-network/categorical",
    "tanh-network/categorical+masked",
    "tanh-network/categorical+sum",
)
_ORDER = np.array([3, 0, 5, 1, 4, 2])


@cache
def own_scenarios() -> tuple[Scenario, ...]:
    """The suite's own."""
    logistic, softmax = linear_models.logistic(), linear_models.softmax_regression()
    linear, tanh, deep = linear_models.linear_regression(), networks.tanh_network(), deep_linear.deep_linear()
    masked, scale = weighted(tanh, _WEIGHTS[: tanh.size], "masked"), other_parameters.elementwise_scale()
    found = (
        logistic,
        linear_models.poisson_regression(),
        linear,
        softmax,
        deep,
        networks.one_datum("tanh"),
        networks.one_datum("relu"),
        tanh,
        networks.stored_as_rows(),
        scale,
        other_parameters.without_inputs("poisson"),
        other_parameters.without_inputs("bernoulli"),
        other_parameters.one_number(),
        convolutional.plain(),
        convolutional.grouped(),
        transformers.block(),
        transformers.tied(),
        shared_weights.applied_twice(),
        shared_weights.scale_and_shift(),
        masked,
        summed(tanh),
        summed(batched(masked, 1, 5)),
        batched(deep, 5, 1),
        weighted(linear, _WEIGHTS[: linear.size]),
        regressions.exponential_regression(),
        regressions.gamma_regression(),
        regressions.heteroscedastic_regression(),
        regressions.von_mises_regression(),
        conditioning.badly_scaled(),
        conditioning.rank_deficient(),
        conditioning.near_singular(),
        permuted(masked, _ORDER),
        reparametrised(scale, "scale"),
        reparametrised_affine(scale, "scale", "weight"),
    )
    return tuple(replace(scenario, quick=scenario.name in _QUICK) for scenario in found)


def all_scenarios(subject: str = "") -> tuple[Scenario, ...]:
    """The suite's own and those that the hook ``curvature_conformance_scenarios`` adds for a subject (for any, without one).

    Raises:
        TypeError: a plugin returned something else than scenarios.
        ValueError: two scenarios have one name.
    """
    found = [*own_scenarios(), *answers("curvature_conformance_scenarios", Scenario, api=API, subject=subject)]
    names = [scenario.name for scenario in found]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"several scenarios are called {', '.join(repeated)}")
    return tuple(found)
