"""The checks of an approximation on every scenario."""

from curvature_conformance.testing import check_trial
from curvature_conformance.trial import Trial


def test_approximation(approximation_trial: Trial) -> None:
    check_trial(approximation_trial)
