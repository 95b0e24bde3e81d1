"""Which part of the suite a run takes, and how exact it is to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from ..names import nearest


@dataclass(frozen=True)
class Selection:
    """Part of the suite; by default all of it, at the suite's own tolerances.

    Attributes:
        checks, scenarios: patterns of names; checks without a scenario have the scenario "".
        fast: only the scenarios that are ``quick``: a few that are small and differ in kind.
        tolerances: by pattern of a check's name, the multiple of the allowed deviation; the report keeps it.
    """

    checks: str = "*"
    scenarios: str = "*"
    fast: bool = False
    tolerances: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for pattern, factor in self.tolerances.items():
            if not factor > 0:
                raise ValueError(f"the tolerance of {pattern!r} is a multiple > 0 of the suite's, got {factor!r}")

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return (self.checks, self.scenarios, self.fast) == ("*", "*", False)

    def takes_check(self, name: str) -> bool:
        """Whether a check is in it."""
        return fnmatchcase(name, self.checks)

    def takes_scenario(self, scenario: Any) -> bool:
        """Whether a scenario, or None for a check without one, is in it."""
        name = "" if scenario is None else scenario.name
        return fnmatchcase(name, self.scenarios) and (not self.fast or getattr(scenario, "quick", True))

    def slack(self, check: str) -> float:
        """The multiple of the suite's tolerance that a check is allowed."""
        return max((factor for pattern, factor in self.tolerances.items() if fnmatchcase(check, pattern)), default=1.0)

    def require_known(self, checks: list[str], scenarios: list[str]) -> None:
        """Refuse patterns that fit nothing.

        Raises:
            ValueError: says which names come near.
        """
        patterns = [("check", self.checks, checks), ("scenario", self.scenarios, scenarios)]
        patterns += [("check", pattern, checks) for pattern in self.tolerances]
        for noun, pattern, names in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ValueError(f"no {noun} of this subject is called {pattern!r}{nearest(pattern, names)}")

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a report."""
        return {"checks": self.checks, "scenarios": self.scenarios, "fast": self.fast, "tolerances": dict(self.tolerances)}


WHOLE = Selection()
"""All of the suite, at its own tolerances."""
