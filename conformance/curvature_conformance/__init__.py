"""The conformance suite of curvature: does a backend, an approximation or a likelihood mean what the library means?

Three doors: ``curvature conform NAME``; ``pytest -p curvature_conformance.plugin --pyargs curvature_conformance.suite``;
and from Python::

    from curvature_conformance import issues
    assert issues("kfac", backend="torch") == []
"""

from .case import Case
from .checklist import Check, all_checks, check
from .expectations import Expectation
from .failures import CheckFailure
from .likelihood_case import LikelihoodExample
from .report import Report
from .runner import issues, perform, perform_in_processes, plan, run
from .scenario import FISHER_TYPE, MATRICES, Exact, References, Scenario
from .scenarios import all_scenarios
from .selection import Selection
from .subject import Subject, UnknownSubjectError, subject_of
from .trial import Outcome, Trial

__all__ = [
    "FISHER_TYPE",
    "MATRICES",
    "Case",
    "Check",
    "CheckFailure",
    "Exact",
    "Expectation",
    "LikelihoodExample",
    "Outcome",
    "References",
    "Report",
    "Scenario",
    "Selection",
    "Subject",
    "Trial",
    "UnknownSubjectError",
    "all_checks",
    "all_scenarios",
    "check",
    "issues",
    "perform",
    "perform_in_processes",
    "plan",
    "run",
    "subject_of",
]
