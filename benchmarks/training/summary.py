"""The table of a record: time and steps to each target, over all seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .record import Record
from .tuning import final


def quantile(values: Sequence[float], share: float) -> float:
    """Of values some of which are infinite, linear between neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low, rest = int(place), place - int(place)
    if rest < 1e-9:
        return ordered[low]
    return math.inf if math.isinf(ordered[low + 1]) else (1 - rest) * ordered[low] + rest * ordered[low + 1]


def to_target(runs: list[Record], target: float) -> tuple[list[float], list[float]]:
    """Steps and seconds of every run, infinite where it did not get there."""
    reached = [run["reached"].get(f"{target:g}") for run in runs]
    return tuple([math.inf if found is None else found[place] for found in reached] for place in (0, 1))


def table(record: Record) -> str:
    """The record as Markdown."""
    contenders = {name: found for name, found in record["contenders"].items() if found["runs"]}
    lines = [f"## {record['problem']}", "", f"{record['summary'][0].upper()}{record['summary'][1:]}.", ""]
    if not contenders:
        return "\n".join([*lines, "No runs."])
    targets = record["targets"]
    for place, what in ((1, "Seconds"), (0, "Steps")):
        head = [what, *(f"to {target:g}" for target in targets), f"{record['measured']} at the end"]
        lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        medians = {
            (name, target): quantile(to_target(found["runs"], target)[place], 0.5)
            for name, found in contenders.items()
            for target in targets
        }
        for name, found in contenders.items():
            cells = []
            for target in targets:
                best = min(medians[other, target] for other in contenders)
                cells.append(_cell(to_target(found["runs"], target)[place], best))
            ends = [final(run) for run in found["runs"]]
            lines.append(f"| {name} | {' | '.join(cells)} | {_three(ends)} |")
        lines.append("")
    lines += [
        f"Medians over all seeds (quartiles; how many of them got there where not all did), a run that did not get there counts "
        f"as infinitely long; {record['budget']:g} s for each run, {record['threads']} threads, {record['device']}; "
        f"{record['platform']}. The clock stands still while a program compiles and while the error is measured.",
        "",
        *(f"- {name}: {_note(found)}" for name, found in contenders.items()),
    ]
    return "\n".join(lines)


def _cell(values: list[float], best: float) -> str:
    arrived = sum(math.isfinite(value) for value in values)
    if not arrived:
        return "-"
    share = "" if arrived == len(values) else f", {arrived}/{len(values)}"
    median = quantile(values, 0.5)
    shown = f"**{_number(median)}**" if median == best < math.inf else _number(median)
    return f"{shown} ({_number(quantile(values, 0.25))} to {_number(quantile(values, 0.75))}{share})"


def _three(values: list[float]) -> str:
    low, median, high = (_number(quantile(values, share)) for share in (0.25, 0.5, 0.75))
    return f"{median} ({low} to {high})"


def _number(value: float) -> str:
    if math.isinf(value):
        return "∞"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}" if abs(value) < 10 else f"{value:.3g}"


def _note(found: Record) -> str:
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in (found["settings"] or {}).items())
    grid = [tried["settings"] for tried in found["grid"]]
    varied = [name for name in (grid[0] if grid else {}) if any(settings[name] != grid[0][name] for settings in grid)]
    among = "; ".join(", ".join(f"{settings[name]:g}" for settings in grid) for name in varied)
    tuned = f", chosen among {among}" if among else ""
    edge = " (at the edge)" if found.get("best_is_at_the_edge") else ""
    failed = [run for run in found["runs"] if run.get("failed")]
    trouble = f"; {len(failed)} failed, the first with: {failed[0]['failed'].splitlines()[0][:200]}" if failed else ""
    preparation = quantile([run["preparation"] for run in found["runs"]], 0.5)
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return (
        f"{settings + tuned + edge or 'no settings'}; {len(found['runs'])} seeds, {preparation:.1f} s of preparation; "
        f"{versions}{trouble}"
    )
