"""One run over several backends: do they all say the same of the same models?

The suite's other checks compare each backend with references; this compares backends with one another, number by number,
in everything that is computed from a model: values, derivatives, matrices, approximations, optimiser steps.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

import curvature as cv

from .cases.base import SEED
from .cases.on_scenario import Case
from .scenario import Scenario
from .scenarios import all_scenarios
from .subject import backend_subject

TOLERANCES = {"float64": 1e-9, "float32": 2e-4}
"""How far two backends may be apart, relative to the largest entry, by dtype."""


@dataclass(frozen=True)
class Comparison:
    """One quantity of one scenario on all backends.

    Attributes:
        scenario, quantity: what was computed.
        deviation: the largest difference between two backends, divided by the largest entry.
        pair: the two backends that are furthest apart.
        agrees: whether that is within the tolerance.
    """

    scenario: str
    quantity: str
    deviation: float
    pair: tuple[str, str]
    agrees: bool

    def __str__(self) -> str:
        return f"{self.scenario}: {self.quantity} of {' and '.join(self.pair)} differ by {self.deviation:.2g}"


def compare(
    backends: Sequence[str | cv.Backend],
    *,
    dtype: str = "float64",
    device: Any = None,
    only_scenarios: str = "*",
    progress: Callable[[str], None] = lambda scenario: None,
) -> list[Comparison]:
    """Compute everything on every backend and compare.

    Args:
        backends: at least two, names or objects; ``device`` is for those given by name.
        dtype: "float64" or "float32".
        only_scenarios: pattern of names.
        progress: called with the name of each scenario.

    Raises:
        ValueError: fewer than two backends, or no scenario of that name.
        BackendUnavailableError, PrecisionError: a backend cannot be used here, or not in that dtype.
    """
    settings = [backend_subject(b, device=device, dtype=dtype).setting for b in backends]
    names = [setting.backend.name for setting in settings]
    if len(set(names)) < 2 or len(set(names)) != len(names):
        raise ValueError(f"at least two different backends are compared, got {', '.join(names) or 'none'}")
    scenarios = [s for s in all_scenarios() if fnmatchcase(s.name, only_scenarios)]
    if not scenarios:
        raise ValueError(f"no scenario is called {only_scenarios!r}")
    found: list[Comparison] = []
    for scenario in scenarios:
        progress(scenario.name)
        with warnings.catch_warnings():
            # Layers that one backend recognises and another does not warn; their numbers must be the same.
            warnings.simplefilter("ignore", cv.CurvatureWarning)
            values = [dict(_quantities(Case(setting, scenario))) for setting in settings]
        for quantity in values[0]:
            found.append(_compared(scenario, quantity, names, [v[quantity] for v in values], TOLERANCES[dtype]))
    return found


def _compared(
    scenario: Scenario, quantity: str, names: Sequence[str], arrays: Sequence[np.ndarray], allowed: float
) -> Comparison:
    size = max(float(np.max(np.abs(a), initial=0.0)) for a in arrays) or 1.0
    worst, pair = -1.0, (names[0], names[1])
    for i, one in enumerate(arrays):
        for j in range(i + 1, len(arrays)):
            gap = float(np.max(np.abs(one - arrays[j]), initial=0.0)) / size
            if not gap <= worst:  # NaN is as far apart as can be
                worst, pair = gap, (names[i], names[j])
    return Comparison(scenario.name, quantity, worst, pair, worst <= allowed)


def _quantities(case: Case) -> Iterator[tuple[str, np.ndarray]]:
    """(name, array on the host) of everything that is compared."""
    problem, setting = case.problem, case.setting
    loss, gradient = problem.loss_and_gradient()
    yield "loss", setting.numpy(loss).astype(float)
    yield "gradient", setting.flat(gradient).astype(float)
    v = case.array(case.vector(SEED))
    for name in ("fisher", "ggn", "empirical-fisher", "monte-carlo-fisher", "hessian"):
        yield f"{name} product", setting.numpy(case.matrix(name) @ v).astype(float)
    fisher = case.matrix("fisher")
    for method in ("diagonal", "kfac", "exact"):
        approximation = cv.approximate(fisher, method)
        yield method, case.dense(approximation)
        yield f"{method} solve", setting.numpy(approximation.solve(v, damping=0.1)).astype(float)
    yield "kfac, Monte Carlo", case.dense(cv.approximate(case.matrix("monte-carlo-fisher"), "kfac"))
    optimiser = cv.NaturalGradient("kfac")
    params, _, info = optimiser.step(problem.params, optimiser.init(problem))
    yield "natural-gradient step", setting.flat(params).astype(float)
    yield "objective before the step", np.asarray(float(info.loss))
