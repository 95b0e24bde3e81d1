"""``python -m curvature_conformance.checks > docs/checks.md``: the list of all checks, what each shows, and its source."""

from __future__ import annotations

import sys

from ..checklist import Kind, all_checks

_HEAD = """# The checks

What the conformance suite looks at, in the order in which it does, and where the expected values come from. Which defects each
of them has been shown to find: [mutants.md](mutants.md). This page is written by
`python -m curvature_conformance.checks > docs/checks.md`."""

_KINDS: dict[Kind, str] = {
    "backend": "Of a backend",
    "matrix": "Of a backend, on every scenario",
    "likelihood": "Of a likelihood (and of a backend, on the library's own likelihoods)",
    "method": "Of an approximation",
    "approximation": "Of an approximation, on every scenario",
    "operator": "Of an operator, and of an approximation's operator on every scenario",
    "problem": "Of a problem: somebody's own model, likelihood and data",
}


def page() -> str:
    """The whole page in Markdown."""
    parts = [_HEAD]
    for kind, title in _KINDS.items():
        rows = [f"| `{check.name}` | {check.summary} | {check.source} |" for check in all_checks(kind)]
        parts += [f"## {title}", "\n".join(["| check | shows that | source |", "| --- | --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(page())
