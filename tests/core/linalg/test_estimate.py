"""Estimates and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from curvature.linalg import Estimate


def test_interval_is_that_of_student():
    estimate = Estimate(10.0, 2.0, 5, "hutchinson", 0.1, False, probes=5)
    width = 2.0 * stats.t.ppf(0.95, 4)
    assert estimate.interval(0.9) == pytest.approx((10.0 - width, 10.0 + width))
    assert float(estimate) == 10.0


def test_interval_of_what_rests_on_no_samples_is_normal():
    assert Estimate(1.0, 0.5, 3, "lanczos", 0.1, False).interval() == pytest.approx((1 - 0.98, 1 + 0.98), abs=1e-3)
    assert Estimate(1.0, 0.0, 3, "exact", 0.1, True).interval() == (1.0, 1.0)


def test_vectors():
    estimate = Estimate(np.ones(3), np.asarray([0.0, 1.0, 2.0]), 9, "xdiag", 0.1, True, probes=9)
    low, high = estimate.interval()
    np.testing.assert_allclose(high - low, 2 * stats.t.ppf(0.975, 8) * np.arange(3.0))
    with pytest.raises(TypeError, match=r"vector of shape \(3,\)"):
        float(estimate)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_levels(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        Estimate(1.0, 1.0, 3, "xtrace", 0.1, True, probes=3).interval(level)
