"""What worker processes are told, and how they answer: one JSON document to a line."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .selection import Selection
from .trial import Trial


@dataclass(frozen=True)
class Work:
    """A run in words, from which each process makes the same plan.

    Attributes:
        subject, backend: names, ``backend`` None for a backend as the subject.
        device, dtype: as for ``subject_of``.
        selection: what of the suite is run.
    """

    subject: str
    backend: str | None
    device: str | None
    dtype: str | None
    selection: Selection

    def to_dict(self) -> dict[str, Any]:
        """As it is sent."""
        return {**asdict(self), "selection": self.selection.to_dict()}

    @classmethod
    def of_dict(cls, record: dict[str, Any]) -> Work:
        """As it was sent."""
        return cls(**{**record, "selection": Selection(**record["selection"])})


def fingerprint(trials: Sequence[Trial]) -> str:
    """A digest of the names of trials in order: two processes that agree on it mean the same by a number."""
    return hashlib.sha256("\n".join(trial.name for trial in trials).encode()).hexdigest()


def groups(trials: Sequence[Trial]) -> list[list[int]]:
    """Positions of trials that share what a backend compiles, the most expensive group first.

    That is one group for each family of scenarios, and one for each group of checks without a scenario.
    """
    found: dict[str, list[int]] = {}
    for position, trial in enumerate(trials):
        name = trial.scenario_name or trial.check.name
        found.setdefault(name.partition("/")[0], []).append(position)
    return sorted(found.values(), key=lambda group: -len(group) * _size(trials[group[0]]))


def _size(trial: Trial) -> int:
    """Parameters of its scenario, a measure of how large the programs are."""
    references = getattr(trial.scenario, "references", None)
    return 1 if references is None else int(references.jacobian.shape[2])
