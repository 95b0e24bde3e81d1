"""Names that come near one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'a' or 'b'?``, or "" where nothing comes near: in its whole, or in the part after the slash."""
    names = list(dict.fromkeys(known))
    found = get_close_matches(name.strip("*"), names, n=3, cutoff=0.5)
    if not found:
        tails = {known_name.rpartition("/")[2]: known_name for known_name in names}
        found = [tails[tail] for tail in get_close_matches(name.strip("*/"), tails, n=3, cutoff=0.5)]
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""
