"""The checks of a backend: arrays, derivatives, matrices of every scenario, likelihoods."""

from curvature_conformance.running.trial import Trial
from curvature_conformance.testing import check_trial


def test_backend(backend_trial: Trial) -> None:
    check_trial(backend_trial)
