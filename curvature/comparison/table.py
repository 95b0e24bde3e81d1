"""A comparison as a table: of text, or in Markdown."""

from __future__ import annotations

from .metrics import METRICS, Metric
from .number import Number
from .result import Comparison, Row

_MULTIPLES = (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0))
_BYTES = (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9))

TINY = 1e-9
"""What is smaller is rounding, and is not written out."""


def text(comparison: Comparison, width: int | None = None) -> str:
    """Aligned columns; the best of each has a star. Quality and cost stand one above the other where ``width`` is too small."""
    lines = [heading(comparison), ""]
    names = _columns(comparison)
    table = _aligned(comparison, names)
    if width is not None and _width(table) > width:
        quality = [name for name in names if not METRICS[name].is_cost]
        table = _fitting(comparison, quality, width)
        cost = [name for name in names if METRICS[name].is_cost]
        if cost:
            table += ["", *_fitting(comparison, cost, width)]
    return "\n".join(lines + table + notes(comparison))


def markdown(comparison: Comparison) -> str:
    """A table whose best cells are bold, between the heading and the notes."""
    names = _columns(comparison)
    rows = [["", *(METRICS[name].heading for name in names)], ["---", *["---:"] * len(names)]]
    for row in _shown_rows(comparison, names):
        cells = [_cell(comparison, row, name) for name in names]
        rows.append([_label(comparison, row), *(f"**{c[:-2]}**" if c.endswith("*") else c for c in cells)])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([heading(comparison), "", *lines, *notes(comparison, separate=True)])


def heading(comparison: Comparison) -> str:
    """What was compared, and how."""
    how = "exact, from the dense matrix" if comparison.exact else "estimated, ± 95 %"
    made = comparison.gradient_seconds
    gradient = "" if made is None else f"; one gradient {seconds(made)}"
    return (
        f"{comparison.matrix} of {comparison.parameters} parameters, {how}; damping δ = {comparison.damping:.3g} "
        f"({comparison.damping_rule}){gradient}"
    )


def notes(comparison: Comparison, *, separate: bool = False) -> list[str]:
    """What the cells cannot say."""
    lines = [f"{row.label}: {row.refused}" for row in comparison.rows if row.refused]
    if not comparison.exact and comparison.residual:
        lines.append(f"natural gradient by conjugate gradients to a relative residual of {comparison.residual:.1g}")
    if comparison.interrupted:
        lines.append("interrupted: approximations are missing")
    if separate:
        lines = [part for line in lines for part in ("", line)]
    return ["", *lines] if lines and not separate else lines


def _columns(comparison: Comparison) -> list[str]:
    """The metrics that any row has."""

    def is_there(name: str) -> bool:
        cells = [getattr(row, name) for row in comparison.rows if not row.refused]
        return any(cell is not None and (not isinstance(cell, Number) or cell != Number.missing_cell()) for cell in cells)

    found = [name for name in METRICS if is_there(name)]
    return found or ["error"]


def _aligned(comparison: Comparison, names: list[str]) -> list[str]:
    rows = [["", *(METRICS[name].heading for name in names)]]
    for row in _shown_rows(comparison, names):
        rows.append([_label(comparison, row), *(_cell(comparison, row, name) for name in names)])
    # A star stands in a column of its own, so that numbers stay below one another.
    starred = [any(row[i].endswith("*") for row in rows) for i in range(len(names) + 1)]
    for line in rows:
        line[1:] = [c if c.endswith("*") or not starred[i + 1] else f"{c} " for i, c in enumerate(line[1:])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names) + 1)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    ]


def _fitting(comparison: Comparison, names: list[str], width: int) -> list[str]:
    """Columns that are too many for ``width`` stand in two tables, one above the other."""
    table = _aligned(comparison, names)
    if _width(table) <= width or len(names) == 1:
        return table
    half = (len(names) + 1) // 2
    return [*_fitting(comparison, names[:half], width), "", *_fitting(comparison, names[half:], width)]


def _width(table: list[str]) -> int:
    return max(map(len, table))


def _shown_rows(comparison: Comparison, names: list[str]) -> list[Row | None]:
    """All rows, and None for the matrix itself where it has anything to say."""
    return [*comparison.rows, *([None] if "effective_dimension" in names else [])]


def _label(comparison: Comparison, row: Row | None) -> str:
    return f"{comparison.matrix} itself" if row is None else row.label


def _cell(comparison: Comparison, row: Row | None, name: str) -> str:
    if row is None:
        return number(comparison.effective_dimension) if name == "effective_dimension" else ""
    if row.refused:
        return "refused" if name == "error" else ""
    said = shown(row, name)
    return f"{said} *" if len(comparison.rows) > 1 and is_best(comparison, row, name) else said


def is_best(comparison: Comparison, row: Row, name: str) -> bool:
    """Whether no other row is better, as far as is shown."""
    if not METRICS[name].better or row.value(name) is None:
        return False
    return shown(row, name) == shown(comparison.ranking(name)[0], name)


def shown(row: Row, name: str) -> str:
    """A cell as text."""
    found = getattr(row, name)
    return number(found, cosine=name == "cosine") if isinstance(found, Number) else amount(found, METRICS[name])


def number(value: Number, *, cosine: bool = False) -> str:
    """0.123, 0.12 ±0.03, or the reason why there is none."""
    if value.value is None:
        return value.reason or ""
    said = f"{value.value:.4f}" if cosine else digits(value.value)
    # What is less than half of the last digit that is shown says nothing.
    least = 5e-5 if cosine else max(5e-4 * abs(value.value), TINY)
    return said if value.half_width < least else f"{said} ±{digits(float(f'{value.half_width:.1g}'))}"


def digits(value: float) -> str:
    """Three of them, without an exponent where there is room."""
    if 0 < abs(value) < TINY:
        return "<1e-9"
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def amount(value: float | None, metric: Metric) -> str:
    """A time, a number of bytes or a multiple, with its unit."""
    if value is None:
        return ""
    if metric.kind == "seconds":
        return seconds(value)
    if metric.kind == "bytes":
        return size(value)
    return f"{digits(value)} ×"


def seconds(value: float) -> str:
    """A time in the unit that suits it."""
    return _in_units(value, _MULTIPLES)


def size(value: float) -> str:
    """Bytes in the unit that suits them."""
    return _in_units(value, _BYTES)


def _in_units(value: float, units: tuple[tuple[str, float], ...]) -> str:
    name, unit = next((pair for pair in reversed(units) if value >= pair[1]), units[0])
    scaled = value / unit
    return f"{scaled:.0f} {name}" if scaled >= 100 else f"{scaled:.3g} {name}"
