"""Links between the pages lead somewhere, and every decision is listed and complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md"), *ROOT.glob("examples/**/*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


def _targets(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]


def test_pages_and_links_are_found() -> None:
    names = {page.name for page in PAGES}
    assert {"CONTRIBUTING.md", "CHANGELOG.md", "0001-own-autodiff.md"} <= names
    assert "docs/decisions/README.md" in _targets(ROOT / "CONTRIBUTING.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert [target for target in _targets(page) if not (page.parent / target).exists()] == []


def test_every_decision_is_listed_once_and_numbered_in_order() -> None:
    listed = _targets(ROOT / "docs" / "decisions" / "README.md")
    assert listed == [page.name for page in DECISIONS]
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_says_why_what_and_what_else(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.name[:4]}: ")
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert headings == ["Context", "Decision", "Consequences", "Alternatives considered"]


@pytest.mark.parametrize(
    "path", re.findall(r"`((?:curvature|plugins|backends|tests)/[\w./]+)`", (ROOT / "CONTRIBUTING.md").read_text())
)
def test_paths_in_contributing_exist(path: str) -> None:
    assert "my_" in path or (ROOT / path).exists()
