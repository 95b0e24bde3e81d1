"""A batch of one example: its axis has the length of every axis that has length one."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature_conformance.cases.on_scenario import Case
from curvature_conformance.scenarios import all_scenarios
from curvature_conformance.subject import subject_of

SCENARIOS = {s.name: s for s in all_scenarios() if s.name in ("transformer/block", "transformer/tied-embedding")}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_diagonal_of_a_transformer_on_one_example(name):
    scenario = SCENARIOS[name]
    case = Case(subject_of("diagonal", backend="jax").setting, scenario)
    x, y = case.batches[0][0][:1], case.batches[0][1][:1]
    problem = cv.Problem(case.problem.model, scenario.likelihood, (x, y))
    found = cv.approximate(cv.Fisher(problem), "diagonal").diagonal()
    np.testing.assert_allclose(found, np.diag(scenario.references.fishers[0]), rtol=1e-9, atol=1e-12)
