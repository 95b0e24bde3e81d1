"""Classes to subclass in one's own tests: the suite on a subject, with one's own tolerances and declared gaps.

::

    from curvature_conformance.testing import ApproximationConformance

    class TestMyMethod(ApproximationConformance):
        subject = "my-method"
        backend = "torch"
        tolerances = {"inverses/*": 100}   # 100 times the suite's: its solve is iterative

pytest finds one test for each check on each scenario.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from .running.expectations import Expectation
from .running.runner import plan
from .running.selection import Selection
from .running.trial import Trial
from .subject import Subject, subject_of


def check_trial(trial: Trial) -> None:
    """Run a trial as a test: a declared gap is an expected failure, a stale one a failure."""
    outcome = trial.run()
    if outcome.status == "declared":
        pytest.xfail(outcome.message)
    if not outcome.conforms:
        pytest.fail(f"{outcome}\n\n{trial.check.summary}", pytrace=False)


class Conformance:
    """The suite on one subject. Subclass one of the classes below, in a class whose name begins with ``Test``.

    Attributes:
        subject: a name, or what ``make_subject`` is to return.
        backend, device, dtype: as for ``curvature_conformance.run``.
        checks, scenarios: patterns of names; the rest is left out.
        fast: only the scenarios of the fast selection.
        tolerances: by pattern of a check's name, the multiple of the suite's tolerance that it is allowed.
        expectations: declared gaps, besides those that plugins declare.
    """

    kind: ClassVar[str] = ""
    subject: ClassVar[Any] = None
    backend: ClassVar[Any] = None
    device: ClassVar[Any] = None
    dtype: ClassVar[str | None] = None
    checks: ClassVar[str] = "*"
    scenarios: ClassVar[str] = "*"
    fast: ClassVar[bool] = False
    tolerances: ClassVar[Mapping[str, float]] = {}
    expectations: ClassVar[Sequence[Expectation]] = ()

    def make_subject(self) -> Any:
        """What is tested: a name or an object. Override it for an object that is costly to make."""
        return self.subject

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each check and scenario."""
        if "conformance_trial" in metafunc.fixturenames:
            trials = self._plan()
            metafunc.parametrize("conformance_trial", [pytest.param(trial, id=trial.name) for trial in trials])

    def test_conformance(self, conformance_trial: Trial) -> None:
        """One check on one scenario."""
        check_trial(conformance_trial)

    def _plan(self) -> list[Trial]:
        label, wanted = type(self).__name__, self.make_subject()
        if wanted is None:
            raise pytest.UsageError(f"{label}: say what is tested: subject = a name or an object, or override make_subject")
        found: Subject = subject_of(wanted, backend=self.backend, device=self.device, dtype=self.dtype)
        if self.kind not in ("", found.kind):
            raise pytest.UsageError(
                f"{label}: {found.name!r} is of kind {found.kind!r}, and this is a class for kind {self.kind!r}"
            )
        selection = Selection(self.checks, self.scenarios, self.fast, self.tolerances)
        trials = plan(found, selection=selection, expectations=self.expectations)
        if not trials:
            raise pytest.UsageError(f"{label}: no check says anything about {found.name!r}: nothing would be shown")
        return trials


class BackendConformance(Conformance):
    """A backend, by name or as a ``curvature.Backend``."""

    kind = "backend"


class ApproximationConformance(Conformance):
    """An approximation, by name or as a ``curvature.Approximation``."""

    kind = "approximation"


class LikelihoodConformance(Conformance):
    """A ``curvature.Likelihood``."""

    kind = "likelihood"


class OperatorConformance(Conformance):
    """A ``curvature.Operator``."""

    kind = "operator"


class ProblemConformance(Conformance):
    """A ``curvature.Problem``: somebody's own model, likelihood and data."""

    kind = "problem"
