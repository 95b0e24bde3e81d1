"""A planted defect: what is wrong with it, how it is made on a backend, and which check has to say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import curvature as cv

from ..running.runner import plan
from ..running.selection import Selection
from ..running.trial import Outcome
from ..subject import subject_of

Kind = Literal["backend", "matrix", "approximation", "operator", "likelihood", "problem"]

IMMUTABLE = {"jax": "its arrays cannot be written into"}
"""Where a defect that writes in place cannot be planted, and why."""


@dataclass(frozen=True)
class Mutant:
    """One planted defect.

    Attributes:
        name: what is wrong, in a few words; unique.
        kind: what it is a defect of.
        make: the defective subject on a sound backend.
        check, scenario: where it has to be caught: names, the scenario "" for checks without one.
        words: what the message must say.
        impossible: backend → why the defect cannot be planted there.
        within: what has to be in place while it is tested (a function of the library replaced), made anew each time.
    """

    name: str
    kind: Kind
    make: Callable[[cv.Backend], Any]
    check: str
    scenario: str
    words: tuple[str, ...]
    impossible: Mapping[str, str]
    within: Callable[[], AbstractContextManager[Any]] = nullcontext

    def run(self, backend: cv.Backend, selection: Selection | None = None) -> list[Outcome]:
        """Outcomes of its trials on a backend; by default of the one that has to fail."""
        wanted = selection or Selection(self.check, self.scenario or "*")
        with self.within():
            made = self.make(backend)
            # The others have their own.
            subject = subject_of(made, backend=backend if self.kind in ("approximation", "likelihood") else None)
            return [trial.run() for trial in plan(subject, selection=wanted)]

    def escapes(self, backend: cv.Backend) -> str:
        """Why it has not been caught as it has to be; "" if it has."""
        outcomes = self.run(backend)
        if not outcomes:
            return f"{self.check} says nothing about {self.scenario or 'it'}"
        failed = [outcome.message for outcome in outcomes if outcome.status == "failed"]
        if not failed:
            return f"{self.check} does not notice it"
        if not any(all(word in message for word in self.words) for message in failed):
            return f"{self.check} fails, but does not say {self.words}: {failed[0]}"
        return ""


@contextmanager
def replaced(target: Any, **members: Any) -> Iterator[None]:
    """Attributes of an object replaced for as long."""
    before = {name: getattr(target, name) for name in members}
    for name, value in members.items():
        setattr(target, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(target, name, value)
