"""The HTML form of a report: one page, without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import TYPE_CHECKING

from ..checklist import all_checks

if TYPE_CHECKING:
    from ..running.trial import Outcome
    from .report import Report

_STYLE = """
:root { color-scheme: light dark; --good: #2e7d32; --bad: #c62828; --gap: #b58900; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.verdict { border-left: 0.4rem solid; padding: 0.3rem 0.8rem; font-weight: 600; margin: 1rem 0; }
.good { border-color: var(--good); } .bad { border-color: var(--bad); }
table { border-collapse: collapse; } td, th { text-align: left; padding: 0.15rem 0.6rem 0.15rem 0; vertical-align: top; }
.map { overflow-x: auto; } .map td, .map th { padding: 1px; font-size: 12px; white-space: nowrap; }
.map th.scenario { writing-mode: vertical-rl; transform: rotate(180deg); font-weight: normal; padding: 4px 1px; }
.map th.check { font-weight: normal; padding-right: 0.8rem; } .map a { display: block; text-decoration: none; }
.cell { width: 16px; height: 16px; border-radius: 2px; background: var(--line); }
.cell { color: white; text-align: center; line-height: 16px; }
.passed { background: var(--good); } .failed, .stale { background: var(--bad); } .declared { background: var(--gap); }
.key { display: inline-block; vertical-align: -3px; margin: 0 0.3rem 0 1rem; }
pre { white-space: pre-wrap; border: 1px solid var(--line); border-radius: 4px; padding: 0.6rem; overflow-x: auto; }
details { margin: 0.6rem 0; } summary { cursor: pointer; } .quiet { opacity: 0.7; font-size: 13px; }
"""

_LEGEND = (
    ("passed", "in order"),
    ("failed", "failed (or a declared gap that is none)"),
    ("declared", "a declared gap"),
    ("", "says nothing here"),
)


_SIGNS = {"passed": "", "failed": "✗", "stale": "✗", "declared": "○"}


def page(report: Report) -> str:
    """The whole page."""
    title = f"Conformance of {report.kind} {report.subject}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="verdict {"good" if report.conforms else "bad"}">{escape(report.summary)}</p>',
        *_failures(report),
        "<h2>Checks and scenarios</h2>",
        _legend(),
        *_map(report),
        *_gaps(report),
        "<h2>Where and with what</h2>",
        *_circumstances(report),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f"<!doctype html>\n<html lang=en><head>{head}</head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"


def _failures(report: Report) -> Iterator[str]:
    if report.failures:
        yield f"<h2>What is wrong ({len(report.failures)})</h2>"
    summaries = {check.name: check.summary for check in all_checks()}
    for outcome in report.failures:
        yield f'<h3 id="{escape(_anchor(outcome))}">{escape(outcome.name)}</h3>'
        yield f"<p>{escape(summaries.get(outcome.check, ''))}</p><pre>{escape(outcome.message)}</pre>"


def _legend() -> str:
    parts = (f'<span class="cell key {status}">{_SIGNS.get(status, "")}</span>{label}' for status, label in _LEGEND)
    return f'<p class="quiet">{"".join(parts)}</p>'


def _map(report: Report) -> Iterator[str]:
    """A table with a coloured cell for every check on every scenario."""
    scenarios = list(dict.fromkeys(outcome.scenario for outcome in report.outcomes))
    summaries = {check.name: check.summary for check in all_checks()}
    yield '<div class="map"><table><tr><th></th>'
    yield "".join(f'<th class="scenario">{escape(name or "by itself")}</th>' for name in scenarios) + "</tr>"
    for check, outcomes in report.by_check().items():
        found = {outcome.scenario: outcome for outcome in outcomes}
        cells = "".join(_cell(found.get(name)) for name in scenarios)
        yield f'<tr><th class="check" title="{escape(summaries.get(check, ""))}">{escape(check)}</th>{cells}</tr>'
    yield "</table></div>"


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return '<td><div class="cell"></div></td>'
    sign = _SIGNS[outcome.status]  # for those who do not see colours
    square = f'<div class="cell {outcome.status}" title="{escape(f"{outcome.name}: {outcome.status}")}">{sign}</div>'
    return f"<td>{square}</td>" if outcome.conforms else f'<td><a href="#{escape(_anchor(outcome))}">{square}</a></td>'


def _gaps(report: Report) -> Iterator[str]:
    declared: dict[str, list[Outcome]] = {}
    for outcome in report.outcomes:
        if outcome.status == "declared":
            declared.setdefault(outcome.message, []).append(outcome)
    if declared:
        yield "<h2>Declared gaps</h2>"
    for reason, outcomes in declared.items():
        yield f"<details><summary>{escape(reason)} ({len(outcomes)})</summary>{_list(o.name for o in outcomes)}</details>"


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def _circumstances(report: Report) -> Iterator[str]:
    rows = {
        "backend": f"{report.backend} ({report.framework})",
        "device": f"{report.device_name} ({report.device})",
        "dtype": report.dtype,
        "versions": ", ".join(f"{name} {version}" for name, version in report.versions.items()),
        "environment": ", ".join(f"{name}={value}" for name, value in report.environment.items()),
        "platform": report.platform,
        "commit": report.commit or "unknown",
        "date": report.date,
        "time": f"{report.elapsed:.1f} s, {sum(outcome.seconds for outcome in report.outcomes):.1f} s within checks",
    }
    yield "<table>" + "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows.items()) + "</table>"


def _anchor(outcome: Outcome) -> str:
    return outcome.name.replace("/", "-")
