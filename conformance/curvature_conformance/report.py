"""What a run of the suite has shown: as messages, as JSON, as a table in Markdown."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import curvature as cv

from .subject import Subject
from .trial import Outcome

FORMAT = 1
"""Version of the JSON form."""


@dataclass(frozen=True)
class Report:
    """All outcomes of a run, and where it ran."""

    kind: str
    subject: str
    backend: str
    device: str
    dtype: str
    outcomes: tuple[Outcome, ...]
    interrupted: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    platform: str = ""

    @classmethod
    def of(cls, subject: Subject, outcomes: Sequence[Outcome], *, interrupted: bool = False) -> Report:
        """The report of outcomes on a subject."""
        setting = subject.setting
        return cls(
            subject.kind,
            subject.name,
            setting.backend.name,
            str(setting.device),
            setting.dtype,
            tuple(outcomes),
            interrupted,
            _versions(setting.backend),
            platform.platform(),
        )

    @property
    def failures(self) -> list[Outcome]:
        """Outcomes that are not in order."""
        return [outcome for outcome in self.outcomes if not outcome.conforms]

    @property
    def issues(self) -> list[str]:
        """Messages of everything that is wrong."""
        if not self.outcomes:
            return [f"no check was run on {self.subject!r}: nothing has been shown"]
        return [str(outcome) for outcome in self.failures]

    @property
    def conforms(self) -> bool:
        """Whether the subject conforms: some checks were run, all of them are in order, and none were left out."""
        return not self.issues and not self.interrupted

    @property
    def seconds(self) -> float:
        """How long the checks took."""
        return sum(outcome.seconds for outcome in self.outcomes)

    def by_check(self) -> dict[str, list[Outcome]]:
        """Outcomes by check, in the order in which they ran."""
        groups: dict[str, list[Outcome]] = {}
        for outcome in self.outcomes:
            groups.setdefault(outcome.check, []).append(outcome)
        return groups

    @property
    def summary(self) -> str:
        """One sentence."""
        bad, total = len(self.failures), len(self.outcomes)
        gaps = sum(outcome.status == "declared" for outcome in self.outcomes)
        where = f"{self.kind} {self.subject!r}" + (f" on {self.backend!r}" if self.kind != "backend" else "")
        verdict = "interrupted" if self.interrupted else "conforms" if self.conforms else "does not conform"
        also = f", {gaps} declared gap{'s' if gaps > 1 else ''}" if gaps else ""
        return (
            f"{where} ({self.device}, {self.dtype}) {verdict}: {total - bad} of {total} checks in order{also}, "
            f"{self.seconds:.1f} s"
        )

    # Written forms ------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        record = asdict(self)
        record["outcomes"] = [asdict(outcome) for outcome in self.outcomes]
        return {"format": FORMAT, "conforms": self.conforms, "summary": self.summary, **record}

    def to_markdown(self) -> str:
        """A table of checks and what failed, in full."""
        lines = [f"# Conformance of {self.kind} `{self.subject}`", "", self.summary, ""]
        lines += ["| check | in order | of |", "| --- | ---: | ---: |"]
        for check, outcomes in self.by_check().items():
            lines.append(f"| {check} | {sum(o.conforms for o in outcomes)} | {len(outcomes)} |")
        notes = [outcome for outcome in self.outcomes if outcome.message]
        for outcome in notes:
            place = f" on `{outcome.scenario}`" if outcome.scenario else ""
            lines += ["", f"## {outcome.status}: {outcome.check}{place}", "", "```", outcome.message, "```"]
        made = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return "\n".join([*lines, "", f"{made}; {self.platform}", ""])

    def write(self, path: Path) -> None:
        """Write JSON or Markdown, by the suffix of the path.

        Raises:
            ValueError: another suffix.
        """
        check_suffix(path)
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False) if path.suffix == ".json" else self.to_markdown()
        path.write_text(text, encoding="utf-8")


def check_suffix(path: Path) -> None:
    """Refuse a form that a report does not have."""
    if path.suffix not in (".json", ".md"):
        raise ValueError(f"a report is written as .json or .md, not {path.suffix or path.name!r}")


def _versions(backend: cv.Backend) -> dict[str, str]:
    framework = getattr(backend.xp, "__name__", "").removeprefix("array_api_compat.").partition(".")[0]
    found = {"python": platform.python_version(), "curvature": cv.__version__, "numpy": np.__version__}
    for name in (framework, "array-api-compat"):
        try:
            found.setdefault(name, metadata.version(name))
        except (metadata.PackageNotFoundError, ValueError):
            continue
    return found
