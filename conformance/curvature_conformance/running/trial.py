"""One check on one scenario: what is run, and what came of it."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import curvature as cv

from ..cases.of_likelihood import LikelihoodCase, LikelihoodExample
from ..cases.of_operator import OperatorCase, OperatorExample
from ..cases.of_problem import ProblemCase, ProblemExample
from ..cases.on_scenario import Case
from ..checklist import Check
from ..failures import CheckFailure
from ..scenario import Scenario
from ..setting import Setting
from ..subject import Example
from .expectations import Expectation

Status = Literal["passed", "failed", "declared", "stale"]

_CASES: dict[type, Any] = {
    Scenario: Case,
    LikelihoodExample: LikelihoodCase,
    OperatorExample: OperatorCase,
    ProblemExample: ProblemCase,
}


@dataclass(frozen=True)
class Outcome:
    """What came of one trial.

    Attributes:
        check, scenario: names; the scenario is "" for checks without one.
        status: "passed"; "failed"; "declared" (it failed, and the gap was declared with a reason); "stale" (it passed
            although a gap was declared, which is a failure of the declaration).
        message: of a failure, or the reason of a declared gap.
        seconds: how long it took.
    """

    check: str
    scenario: str
    status: Status
    message: str = ""
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """``check[scenario]``."""
        return f"{self.check}[{self.scenario}]" if self.scenario else self.check

    @property
    def conforms(self) -> bool:
        """Whether it is in order."""
        return self.status in ("passed", "declared")

    def __str__(self) -> str:
        place = f" on {self.scenario}" if self.scenario else ""
        return f"{self.check}{place}: {self.message}"


@dataclass(frozen=True, eq=False)
class Trial:
    """A check that is to be run on a scenario."""

    check: Check
    setting: Setting
    scenario: Example | None = None
    expectation: Expectation | None = None

    @property
    def name(self) -> str:
        """``check[scenario]``."""
        return f"{self.check.name}[{self.scenario_name}]" if self.scenario_name else self.check.name

    @property
    def scenario_name(self) -> str:
        """The scenario's, or "" for a check without one."""
        return "" if self.scenario is None else self.scenario.name

    def case(self) -> Any:
        """What the check's function is given."""
        if self.scenario is None:
            return self.setting
        return _CASES[type(self.scenario)](self.setting, self.scenario)

    def run(self) -> Outcome:
        """Run it. Only KeyboardInterrupt passes."""
        start = time.perf_counter()
        # A file name in a message may hold what no file can be written with.
        message = self._message().encode("utf-8", "backslashreplace").decode()
        outcome = Outcome(
            self.check.name, self.scenario_name, "failed" if message else "passed", message, time.perf_counter() - start
        )
        gap = self.expectation
        if gap is None:
            return outcome
        declared = f"declared gap ({gap.support.value}): {gap.reason}"
        if message:
            return replace(outcome, status="declared", message=declared)
        return replace(outcome, status="stale", message=f"it passes, but there is a {declared}; take the declaration away")

    def _message(self) -> str:
        claims = self.setting.backend.capabilities
        needed = " and ".join(map(repr, self.check.needs))
        # Only what is said not to be there is excused; that nothing at all is said is a check of its own.
        absent = next((name for name in self.check.needs if name in claims and not claims[name].supported), None)
        try:
            with warnings.catch_warnings():
                # Lost structure and general paths are no defects; a mistake in the mathematics shows in the numbers.
                warnings.simplefilter("ignore", cv.CurvatureWarning)
                self.check.function(self.case())
        except CheckFailure as failure:
            error: BaseException = failure
        except (Exception, SystemExit) as raised:  # a subject that ends the process must not end the run, and pass
            error = raised
        else:
            if absent is None:
                return ""
            claim = claims[absent]
            return (
                f"the backend claims not to have {absent!r} ({claim.support.value}: {claim.reason}), yet it works: a stale "
                f"claim; claim it as native or derived"
            )
        if absent is not None:
            refusals = (cv.UnsupportedError, cv.PrecisionError) if absent == "float64" else cv.UnsupportedError
            if isinstance(error, refusals):
                return ""
            return (
                f"the backend claims not to have {absent!r}, so UnsupportedError was expected; it raised "
                f"{type(error).__name__}: {error}"
            )
        source = f"\n  source: {self.check.source}" if self.check.source else ""
        if isinstance(error, CheckFailure):
            return f"{error}{source}"
        claimed = f" (the backend claims to have {needed})" if needed and isinstance(error, cv.UnsupportedError) else ""
        return f"{type(error).__name__} was raised{claimed}: {error}{_place(error)}{source}"


def _place(error: BaseException) -> str:
    """File and line of the innermost frame, for errors that are no check's own."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f" (at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
