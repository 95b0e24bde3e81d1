"""What was suggested, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..approximation import Approximation, Detail
from .table import digits, seconds, size


@dataclass(frozen=True)
class Option:
    """One approximation that was considered.

    Attributes:
        label: its name, with options that are not the defaults.
        method: the approximation.
        bytes: what its operator is predicted to hold once it has solved; None where that is not known.
        seconds: predicted, from the data to the first solution.
        how: where the predictions come from: "counted" or "measured".
        detail: how much of the matrix it keeps.
        error: its relative Frobenius error on some of the examples, or on all of them, or that of its natural gradient; None
            where it was not measured.
        excluded: why it was left out; "" where it was not.
    """

    label: str
    method: Approximation
    bytes: int | None = None
    seconds: float | None = None
    how: str = ""
    detail: Detail = Detail.UNKNOWN
    error: float | None = None
    excluded: str = ""


@dataclass(frozen=True)
class Suggestion:
    """The approximation that suits a budget: ``curvature.approximate(matrix, suggestion.method)``.

    Attributes:
        label: its name.
        method: the approximation.
        reasons: why, a line each.
        options: all that were considered, with what they are predicted to take and why they were left out.
        gradient_seconds: the time of one gradient, from which those of the others are predicted.
    """

    label: str
    method: Approximation
    reasons: tuple[str, ...]
    options: tuple[Option, ...] = field(repr=False)
    gradient_seconds: float = field(repr=False)

    def __getitem__(self, label: str) -> Option:
        for option in self.options:
            if option.label == label:
                return option
        raise KeyError(f"{label!r}; there are {', '.join(repr(option.label) for option in self.options)}")

    def __str__(self) -> str:
        lines = [f"suggested: {self.label}", *(f"  {reason}" for reason in self.reasons), ""]
        return "\n".join([*lines, self.table()])

    def table(self) -> str:
        """All options, aligned."""
        rows = [("", "memory", "time", "error", "")]
        rows += [_cells(option, option.label == self.label) for option in self.options]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join(
            "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in (1, 2, 3)), row[4]]).rstrip() for row in rows
        )


def _cells(option: Option, is_chosen: bool) -> tuple[str, str, str, str, str]:
    taken = "" if option.bytes is None else size(option.bytes)
    time = "" if option.seconds is None else seconds(option.seconds)
    error = "" if option.error is None else digits(option.error)
    return option.label, taken, time, error, "suggested" if is_chosen else option.excluded
