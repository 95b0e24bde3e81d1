"""Which check catches which mutant: the page docs/mutants.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import curvature as cv

from ..checklist import all_checks
from ..running.selection import Selection
from .mutant import Mutant

_HEAD = """# Planted defects

How the conformance suite is tested itself: {mutants} defects are planted, one at a time, into backends, curvature matrices,
approximations, operators, likelihoods and models that are sound, and the suite has to find each of them, by a message that
names what is wrong. Every one of its {checks} checks catches at least one. All of them are caught on NumPy, PyTorch and JAX
(but for those that write in place, which cannot be planted into JAX).

    python -m curvature_conformance.mutants --backend torch

plants them all on a backend and says which escape. This page is written by
`python -m curvature_conformance.mutants --table > docs/mutants.md`, from runs of the fast selection of the suite, and of the
check that is meant, on NumPy."""


def failing_checks(mutant: Mutant, backend: cv.Backend) -> set[str]:
    """Names of the checks that fail on a mutant: those of the fast selection, and the one that is meant."""
    outcomes = [*mutant.run(backend), *mutant.run(backend, Selection(fast=True))]
    return {outcome.check for outcome in outcomes if outcome.status == "failed"}


def page(mutants: Iterable[Mutant], backend: cv.Backend, after_each: Callable[[], None] = lambda: None) -> str:
    """The whole page in Markdown."""
    found: dict[str, set[str]] = {}
    known = tuple(mutants)
    for mutant in known:
        found[mutant.name] = failing_checks(mutant, backend)
        after_each()
    checks = [check.name for check in all_checks()]
    head = _HEAD.format(mutants=len(known), checks=len(checks))
    return (
        "\n\n".join([head, "## Checks, and what they catch", _by_check(checks, known, found), "## Defects", _by_mutant(known)])
        + "\n"
    )


def _by_check(checks: Iterable[str], mutants: Iterable[Mutant], found: Mapping[str, set[str]]) -> str:
    lines = ["| check | catches |", "| --- | --- |"]
    for check in checks:
        names = [mutant.name for mutant in mutants if check in found[mutant.name]]
        lines.append(f"| `{check}` | {'; '.join(names) or '**nothing**'} |")
    return "\n".join(lines)


def _by_mutant(mutants: Iterable[Mutant]) -> str:
    lines = ["| defect | of | has to be caught by | on | not on |", "| --- | --- | --- | --- | --- |"]
    for mutant in mutants:
        scenario = "" if mutant.scenario in ("", "*") else f"`{mutant.scenario}`"
        absent = "; ".join(f"{name}: {reason}" for name, reason in mutant.impossible.items())
        lines.append(f"| {mutant.name} | {mutant.kind} | `{mutant.check}` | {scenario} | {absent} |")
    return "\n".join(lines)
