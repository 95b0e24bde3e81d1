"""The checks of an approximation on every scenario."""

from curvature_conformance.running.trial import Trial
from curvature_conformance.testing import check_trial


def test_approximation(approximation_trial: Trial) -> None:
    check_trial(approximation_trial)
