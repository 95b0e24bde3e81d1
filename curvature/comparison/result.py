"""What a comparison found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError
from .metrics import METRICS
from .number import Number


@dataclass(frozen=True)
class Row:
    """One approximation A of the matrix F, with the damping δ and the gradient g of the comparison.

    Attributes:
        label: how it is called.
        method: the approximation with its options, or the kind of an operator that was given.
        error: ‖F - A‖ / ‖F‖ in the Frobenius norm.
        cosine: of the angle between (A + δI)⁻¹ g and (F + δI)⁻¹ g.
        step_error: ‖x_A - x‖ / ‖x‖ of the two, in the norm of F + δI.
        kl: KL(N(0, (A + δI)⁻¹) ‖ N(0, (F + δI)⁻¹)) in nats.
        effective_dimension: tr A (A + δI)⁻¹.
        seconds: to make it: statistics and ``build``, the median of the repeats; None for an operator that was given.
        gradients: the same as a multiple of the time of one gradient.
        first_solve: seconds of the first ``solve`` of an operator that was just made; factorisations that are put off
            until then count here.
        solve: seconds of another one.
        bytes: of the arrays that the operator holds before it has solved anything.
        refused: why there is no such approximation of this matrix; all else is empty then.
    """

    label: str
    method: str
    error: Number = field(default_factory=Number.missing_cell)
    cosine: Number = field(default_factory=Number.missing_cell)
    step_error: Number = field(default_factory=Number.missing_cell)
    kl: Number = field(default_factory=Number.missing_cell)
    effective_dimension: Number = field(default_factory=Number.missing_cell)
    seconds: float | None = None
    gradients: float | None = None
    first_solve: float | None = None
    solve: float | None = None
    bytes: int | None = None
    refused: str = ""

    def value(self, metric: str) -> float | None:
        """The value of a metric by its name; None where there is none."""
        found = getattr(self, metric)
        return found.value if isinstance(found, Number) else found


@dataclass(frozen=True)
class Comparison:
    """Several approximations of one matrix, side by side: ``print`` shows a table.

    Attributes:
        rows: one for each, in the order in which they were given.
        effective_dimension: tr F (F + δI)⁻¹ of the matrix itself.
        gradient_seconds: time of one gradient of the problem; None without a problem.
        matrix: what was approximated, in words.
        parameters: P.
        damping: δ.
        damping_rule: where it comes from.
        exact: whether the numbers come from the dense matrix; otherwise they are estimates with intervals.
        residual: ‖g - (F + δI) x‖ / ‖g‖ of the natural gradient x that the others are held against.
        interrupted: whether the comparison was cut short.
        settings, versions: what is needed to do it again.
    """

    rows: tuple[Row, ...]
    effective_dimension: Number
    gradient_seconds: float | None
    matrix: str
    parameters: int
    damping: float
    damping_rule: str
    exact: bool
    residual: float
    interrupted: bool = False
    settings: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    versions: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __getitem__(self, label: str) -> Row:
        for row in self.rows:
            if row.label == label:
                return row
        raise KeyError(f"{label!r}; there are {', '.join(repr(row.label) for row in self.rows)}")

    def ranking(self, by: str = "error") -> tuple[Row, ...]:
        """The rows that have a value, the best first.

        Args:
            by: "error", "cosine", "step_error", "kl", "seconds", "first_solve", "solve" or "bytes".

        Raises:
            DataError: if there is no such metric, or none that is better when larger or smaller.
        """
        metric = METRICS.get(by)
        if metric is None or metric.better == 0:
            ranked = [name for name, known in METRICS.items() if known.better]
            raise DataError(f"approximations are ranked by {', '.join(ranked)}; got {by!r}")
        rows = [(value, row) for row in self.rows if (value := row.value(by)) is not None]
        return tuple(row for _, row in sorted(rows, key=lambda pair: -metric.better * pair[0]))

    def best(self, by: str = "error") -> Row:
        """The first of ``ranking``.

        Raises:
            DataError: if no row has a value.
        """
        ranking = self.ranking(by)
        if not ranking:
            raise DataError(f"no approximation has a value of {by!r}: " + "; ".join(_why(row, by) for row in self.rows))
        return ranking[0]

    def __str__(self) -> str:
        from .table import text

        return text(self)

    def table(self) -> str:
        """The table in Markdown."""
        from .table import markdown

        return markdown(self)

    def to_json(self) -> str:
        """Everything, versions and settings included, as JSON."""
        from .record import dumps

        return dumps(self)

    def save(self, path: str | Path) -> None:
        """Write ``to_json()``, or ``table()`` where the name ends in .md; an earlier file is replaced whole or not at all.

        Raises:
            DataError: for another ending.
        """
        from .record import save

        save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Comparison:
        """Read what ``save`` wrote as JSON.

        Raises:
            MissingFileError, FileFormatError: naming the field that is not as it should be.
        """
        from .record import load

        return load(Path(path))

    def plot(self, path: str | Path | None = None) -> Any:
        """A figure: error against time, and bars of each metric. Written to ``path`` (.png, .pdf, .svg) if that is given.

        Raises:
            ModuleNotFoundError: without matplotlib; says how to install it.
        """
        from .plot import draw

        return draw(self, None if path is None else Path(path))


def _why(row: Row, by: str) -> str:
    cell = getattr(row, by)
    reason = row.refused or (cell.reason if isinstance(cell, Number) else "") or "not measured"
    return f"{row.label}: {reason}"
