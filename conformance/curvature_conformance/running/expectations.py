"""Declared gaps: what a subject does not do yet, or cannot do, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import curvature as cv

from ..declared import answers


@dataclass(frozen=True)
class Expectation:
    """A declared gap. It is strict: where the check passes after all, the declaration is stale, and that is a failure.

    Attributes:
        check: pattern of the check's name, such as "derivatives/*".
        scenario: pattern of the scenario's name; checks without a scenario have the name "".
        support: NOT_IMPLEMENTED (ours to do), UPSTREAM (theirs) or IMPOSSIBLE.
        reason: why.
    """

    check: str
    scenario: str = "*"
    support: cv.Support = cv.Support.NOT_IMPLEMENTED
    reason: str = ""

    def __post_init__(self) -> None:
        if self.support in (cv.Support.NATIVE, cv.Support.DERIVED):
            raise ValueError(f"an expectation declares a gap, so its support cannot be {self.support.value!r}")
        if not self.reason:
            raise ValueError(f"the gap declared for {self.check!r} needs a reason")

    def covers(self, check: str, scenario: str) -> bool:
        """Whether this gap is about that check on that scenario."""
        return fnmatchcase(check, self.check) and fnmatchcase(scenario, self.scenario)


def declared(subject: str) -> tuple[Expectation, ...]:
    """Gaps that plugins declare for a subject through the hook ``curvature_conformance_expectations``.

    Raises:
        TypeError: a plugin returned something else than expectations.
    """
    return tuple(answers("curvature_conformance_expectations", Expectation, subject=subject))


def unmatched(expectations: Iterable[Expectation], pairs: Iterable[tuple[str, str]]) -> list[Expectation]:
    """Gaps that are about no check at all: misspelt, or of a check that is gone."""
    known = list(pairs)
    return [gap for gap in expectations if not any(gap.covers(*pair) for pair in known)]
