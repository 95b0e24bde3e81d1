"""The conformance suite of curvature: does what somebody has written mean what the library means?

Doors: ``curvature conform NAME``; ``pytest -p curvature_conformance.plugin --pyargs curvature_conformance.suite``; the classes of
``curvature_conformance.testing``; and from Python::

    from curvature_conformance import issues
    assert issues("kfac", backend="torch") == []

Where to look: ``scenarios`` are models with references, as data; ``checks`` is what is asked; ``cases`` is what a check is
given; ``running`` makes outcomes of it and ``reports`` writes them down; ``mutants`` are the planted defects by which all of
this is tested.
"""

from .cases.of_likelihood import LikelihoodExample
from .cases.on_scenario import Case
from .checklist import Check, all_checks, check
from .failures import CheckFailure
from .reports.report import Report
from .running.expectations import Expectation
from .running.runner import issues, perform, perform_in_processes, plan, run
from .running.selection import Selection
from .running.trial import Outcome, Trial
from .scenario import FISHER_TYPE, MATRICES, Exact, References, Scenario
from .scenarios import all_scenarios
from .subject import Subject, UnknownSubjectError, subject_of

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
