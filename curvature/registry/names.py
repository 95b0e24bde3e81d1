"""What to say of a name that nobody registered."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def near(name: str, known: Iterable[str]) -> list[str]:
    """Up to three known names that ``name`` may have meant, regardless of case, hyphens and underscores."""
    folded: dict[str, str] = {}
    for candidate in known:
        folded.setdefault(fold(candidate), candidate)
    return [folded[match] for match in get_close_matches(fold(name), folded, n=3, cutoff=0.6)]


def fold(name: str) -> str:
    """The form in which names are compared."""
    return name.strip().lower().replace("_", "-")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'torch'?``, or nothing."""
    matches = near(name, known)
    return f"; did you mean {' or '.join(repr(match) for match in matches)}?" if matches else ""
