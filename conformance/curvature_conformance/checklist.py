"""A check is a named function with a sentence that says what it shows; the list of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from curvature.backend import CAPABILITIES

Kind = Literal["backend", "matrix", "method", "approximation", "operator", "likelihood", "problem"]


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: "group: what it shows", unique.
        kind: "backend" and "method" checks take a ``Setting``; "matrix" and "approximation" checks a ``Case``; "operator"
            checks a ``Case`` or an ``OperatorCase``; "likelihood" checks a ``LikelihoodCase``; "problem" checks a
            ``ProblemCase``.
        function: raises ``CheckFailure`` (or any other exception) where the subject does not conform.
        needs: the backend's capabilities that it uses; where the backend does not claim all of them the check must end in
            ``UnsupportedError`` instead.
        applies: whether it says anything about a given case.
        source: the paper, with its section or equation where that helps, that the expected value comes from.
    """

    name: str
    kind: Kind
    function: Callable[[Any], None]
    needs: tuple[str, ...] = ()
    applies: Callable[[Any], bool] = lambda case: True
    source: str = ""

    @property
    def summary(self) -> str:
        """The first sentence of its docstring."""
        return (self.function.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")


CONTRACT = "the contract: docs/authors.md"
"""The source of what the library itself asks for."""

_checks: dict[str, Check] = {}


def check(
    kind: Kind,
    group: str,
    *,
    capability: str | tuple[str, ...] = (),
    applies: Callable[[Any], bool] = lambda case: True,
    source: str,
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Add a function to the list of checks, under the name ``group/function-name``."""
    needs = (capability,) if isinstance(capability, str) else capability
    if unknown := set(needs) - set(CAPABILITIES):
        raise ValueError(f"no capability of a backend is called {' or '.join(sorted(unknown))}")

    def add(function: Callable[[Any], None]) -> Callable[[Any], None]:
        name = f"{group}/{function.__name__.replace('_', '-')}"
        if name in _checks:
            raise ValueError(f"two checks are called {name!r}")
        if not source:
            raise ValueError(f"check {name!r} has no source for what it expects")
        if not function.__doc__:
            raise ValueError(f"check {name!r} has no docstring that says what it shows")
        _checks[name] = Check(name, kind, function, needs, applies, source)
        return function

    return add


def all_checks(kind: Kind | None = None) -> tuple[Check, ...]:
    """All checks, or those of one kind, in the order of their definition."""
    from .checks import load

    load()
    return tuple(found for found in _checks.values() if kind is None or found.kind == kind)
