"""KFLR is K-FAC on exact matrices, and refuses others."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature_conformance.cases.on_scenario import Case
from curvature_conformance.scenarios import all_scenarios
from curvature_conformance.setting import Setting

SCENARIOS = {s.name: s for s in all_scenarios() if s.is_plain and s.name != "logistic-regression/plain"}


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("kind", ["fisher", "ggn"])
@pytest.mark.parametrize("options", [{}, {"gamma": 0.3, "sharing": "reduce"}])
def test_it_is_kfac_on_exact_matrices(name, kind, options):
    matrix = Case(Setting(cv.backend("numpy")), SCENARIOS[name]).matrix(kind)
    kflr, kfac = (cv.approximate(matrix, method, **options).to_dense() for method in ("kflr", "kfac"))
    np.testing.assert_array_equal(kflr, kfac)


@pytest.mark.parametrize("kind", ["monte-carlo-fisher", "empirical-fisher"])
def test_what_is_not_exact_is_refused(be, kind):
    matrix = Case(Setting(be), SCENARIOS["tanh-network/categorical"]).matrix(kind)
    with pytest.raises(cv.UnsupportedError, match=r"'kflr' propagates an exact root.*'kfac'"):
        cv.approximate(matrix, "kflr")


def test_options_are_checked_under_its_own_name():
    with pytest.raises(cv.DataError, match="kflr: sharing"):
        cv.approximation("kflr", sharing="both")


def test_a_hessian_is_refused():
    matrix = Case(Setting(cv.backend("numpy")), SCENARIOS["tanh-network/categorical"]).matrix("hessian")
    with pytest.raises(cv.UnsupportedError, match=r"'kflr' is not defined for a Hessian"):
        cv.approximate(matrix, "kflr")
