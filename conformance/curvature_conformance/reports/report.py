"""What a run of the suite has shown: as messages, as JSON, as a table in Markdown."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from ..running.selection import WHOLE, Selection
from ..running.trial import Outcome, Status
from ..subject import Subject
from . import provenance
from .format import FORMAT


@dataclass(frozen=True)
class Report:
    """All outcomes of a run, and where, when and with what it ran.

    Attributes:
        kind, subject: what was tested.
        backend, framework: on which backend, and the import name of its array library.
        device, device_name: the device as its library calls it, and the hardware.
        commit: of the working tree of this library, "" if it is not run from one.
        environment: what was set besides: variables that keep float32 products in float32 (see ``provenance``), and what the
            backend's plugin asks for.
        selection: which part of the suite was run.
        elapsed: seconds from start to end.
    """

    kind: str
    subject: str
    backend: str
    device: str
    dtype: str
    outcomes: tuple[Outcome, ...]
    interrupted: bool = False
    framework: str = ""
    device_name: str = ""
    date: str = ""
    commit: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    platform: str = ""
    selection: Selection = field(default_factory=Selection)
    elapsed: float = 0.0

    @classmethod
    def of(
        cls,
        subject: Subject,
        outcomes: Sequence[Outcome],
        *,
        selection: Selection = WHOLE,
        interrupted: bool = False,
        elapsed: float = 0.0,
    ) -> Report:
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
            provenance.framework(setting.backend),
            provenance.device_name(setting.device),
            provenance.date(),
            provenance.commit(),
            provenance.versions(setting.backend),
            provenance.environment(),
            platform.platform(),
            selection,
            elapsed,
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
    def counts(self) -> dict[str, int]:
        """How many outcomes there are of each status."""
        return {status: sum(outcome.status == status for outcome in self.outcomes) for status in get_args(Status)}

    @property
    def device_kind(self) -> str:
        """The kind of the device: "cpu", "cuda", …"""
        return provenance.device_kind(self.device)

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
        part = "" if self.selection.whole else " in part"
        verdict = "interrupted" if self.interrupted else f"conforms{part}" if self.conforms else "does not conform"
        also = f", {gaps} declared gap{'s' if gaps > 1 else ''}" if gaps else ""
        return (
            f"{where} ({self.device}, {self.dtype}) {verdict}: {total - bad} of {total} checks in order{also}"
            f"{self._selected}, {self.elapsed:.1f} s"
        )

    @property
    def _selected(self) -> str:
        """What was left out or loosened, for the summary."""
        chosen = self.selection
        names = [f"{noun} {name!r}" for noun, name in (("checks", chosen.checks), ("scenarios", chosen.scenarios)) if name != "*"]
        names += ["the fast selection"] if chosen.fast else []
        names += [f"{factor:g} times the tolerance of {pattern!r}" for pattern, factor in chosen.tolerances.items()]
        return f" ({', '.join(names)})" if names else ""

    # Written forms ------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; ``report_format`` says what it must hold."""
        record = asdict(self) | {"selection": self.selection.to_dict(), "elapsed": round(self.elapsed, 2)}
        record["counts"] = self.counts
        record["failing"] = [outcome.name for outcome in self.failures]
        outcomes = [asdict(outcome) | {"seconds": round(outcome.seconds, 4)} for outcome in self.outcomes]
        head = {"format": FORMAT, "conforms": self.conforms, "summary": self.summary}
        return {**head, **{key: value for key, value in record.items() if key != "outcomes"}, "outcomes": outcomes}

    def to_json(self) -> str:
        """The JSON form as text, one outcome to a line."""
        record = self.to_dict()
        lines = ",\n".join(f"    {json.dumps(outcome, ensure_ascii=False)}" for outcome in record.pop("outcomes"))
        head = json.dumps(record, indent=2, ensure_ascii=False).removesuffix("\n}")
        return f'{head},\n  "outcomes": [\n{lines}\n  ]\n}}\n'

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
        where = f"{self.device_name}; {made}; {self.platform}; commit {self.commit or 'unknown'}; {self.date}"
        return "\n".join([*lines, "", where, ""])

    def to_html(self) -> str:
        """One page that needs nothing else: the verdict, a map of checks and scenarios, and every failure in full."""
        from .html import page

        return page(self)

    def write(self, path: Path) -> None:
        """Write JSON, Markdown or HTML, by the suffix of the path.

        Raises:
            ValueError: another suffix.
        """
        check_suffix(path)
        path.write_text(getattr(self, _FORMS[path.suffix])(), encoding="utf-8")


_FORMS = {".json": "to_json", ".md": "to_markdown", ".html": "to_html"}


def check_suffix(path: Path) -> None:
    """Refuse a form that a report does not have."""
    if path.suffix not in _FORMS:
        raise ValueError(f"a report is written as .json, .md or .html, not {path.suffix or path.name!r}")
