"""Quantiles of Student's t against SciPy's."""

from __future__ import annotations

import pytest
from scipy import stats

from curvature.linalg.student import LARGE, student_quantile

DEGREES = [*range(1, 31), 57, 100, LARGE - 1, LARGE, LARGE + 1, 1000, 100_000]


@pytest.mark.parametrize("probability", [0.5, 0.6, 0.75, 0.9, 0.975, 0.995, 0.9999])
def test_quantiles(probability):
    for degrees in DEGREES:
        expected = stats.t.ppf(probability, degrees)
        assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-8, abs=1e-12), degrees
        assert student_quantile(1 - probability, degrees) == pytest.approx(-expected, rel=1e-8, abs=1e-12)


def test_refusals():
    for probability in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            student_quantile(probability, 3)
    with pytest.raises(ValueError, match="one degree of freedom"):
        student_quantile(0.9, 0)
