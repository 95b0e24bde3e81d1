"""The checks of a backend: arrays, derivatives, matrices of every scenario, likelihoods."""

from curvature_conformance.testing import check_trial
from curvature_conformance.trial import Trial


def test_backend(backend_trial: Trial) -> None:
    check_trial(backend_trial)
