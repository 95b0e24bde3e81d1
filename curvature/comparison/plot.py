"""A figure of a comparison: error against time, and bars of the other metrics."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import DataError
from .metrics import METRICS
from .place_labels import Label, place
from .result import Comparison, Row
from .table import TINY, is_best, shown

# Distinct in print and to the colour-blind (Okabe and Ito 2008).
PLAIN, BEST, REFERENCE = "#0072B2", "#D55E00", "#555555"

SUFFIXES = (".png", ".pdf", ".svg")

BARS = ("cosine", "step_error", "kl", "effective_dimension", "solve", "bytes")
LOGARITHMIC = ("step_error", "kl", "seconds", "solve", "bytes")

FLOOR = 1e-6
"""Logarithmic bars of quality begin here at least: what is smaller is as good as zero."""


def draw(comparison: Comparison, path: Path | None) -> Any:
    """The figure; written to ``path`` if there is one.

    Raises:
        ModuleNotFoundError: without matplotlib.
        DataError: for an ending that is no picture's, or a comparison without any approximation.
    """
    if find_spec("matplotlib") is None:
        raise ModuleNotFoundError("a plot needs matplotlib, which is not installed; run: pip install 'curvature[plot]'")
    if path is not None and path.suffix not in SUFFIXES:
        raise DataError(f"a plot is written as {', '.join(SUFFIXES)}, got {path.name!r}")
    rows = [row for row in comparison.rows if not row.refused]
    if not rows:
        raise DataError("there is nothing to draw: no approximation could be made")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Without pyplot: no global state, and no display is looked for.
    figure = Figure(figsize=(13.5, max(5.6, 1.6 + 0.42 * len(rows))), dpi=150, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    names = [name for name in BARS if any(row.value(name) is not None for row in rows)]
    timed = any(row.seconds is not None for row in rows)
    widths = [2.3] + [1.0] * min(3, len(names))
    grid = figure.add_gridspec(2, len(widths), width_ratios=widths)
    scatter = figure.add_subplot(grid[:, 0])
    labels = _scatter(scatter, comparison, rows, timed)
    _panels(figure, grid, comparison, rows, names)
    how = "exact" if comparison.exact else "estimated, with 95 % intervals"
    figure.suptitle(
        f"Approximations of the {comparison.matrix}: {comparison.parameters} parameters, damping δ = {comparison.damping:.3g} "
        f"({how}); the best of each in orange",
        fontsize=12,
    )
    canvas.draw()  # now the places of the points are known, and need not be found again
    figure.set_layout_engine("none")
    place(scatter, canvas.get_renderer(), labels)
    if path is not None:
        figure.savefig(path, format=path.suffix[1:])
    return figure


def _scatter(axes: Any, comparison: Comparison, rows: list[Row], timed: bool) -> list[Label]:
    """Error against the time of making, or against memory where nothing was timed; what is to be labelled."""
    x_of = "seconds" if timed else "bytes"
    labels = []
    for row in rows:
        x, error = row.value(x_of), row.error
        if x is None or error.value is None:
            continue
        x = max(float(x), 1e-9)
        colour = BEST if is_best(comparison, row, "error") else PLAIN
        low, high = error.value - (error.low or 0.0), (error.high or 0.0) - error.value
        if error.half_width > 0:
            axes.errorbar([x], [error.value], yerr=[[max(low, 0.0)], [max(high, 0.0)]], color=colour, capsize=3, linewidth=1.0)
        axes.plot([x], [error.value], "o", color=colour, markersize=7, markeredgecolor="white", markeredgewidth=0.8)
        labels.append(Label(x, error.value, row.label, error.low or 0.0, error.high or 0.0))
    axes.set_xscale("log")
    if labels:
        ends = math.log10(min(label.x for label in labels) / 2), math.log10(max(label.x for label in labels) * 2)
        axes.set_xlim(10.0 ** math.floor(ends[0]), 10.0 ** math.ceil(ends[1]))
    top = max((error.high or 0.0 for error in (row.error for row in rows)), default=1.0)
    axes.set_ylim(-0.06 * max(top, TINY), 1.12 * max(top, TINY))
    axes.set_ylabel("relative Frobenius error")
    axes.set_xlabel("seconds to make (statistics and build)" if timed else "bytes held")
    gradient = comparison.gradient_seconds
    if timed and gradient is not None:
        axes.axvline(gradient, color=REFERENCE, linewidth=1.0, linestyle=":")
        axes.text(gradient, 0.995, " one gradient", color=REFERENCE, fontsize=8, va="top", transform=axes.get_xaxis_transform())
    axes.grid(True, which="major", color="0.92", linewidth=0.8)
    _plain(axes)
    return labels


def _panels(figure: Any, grid: Any, comparison: Comparison, rows: list[Row], names: list[str]) -> None:
    ordered = sorted(rows, key=lambda row: (row.error.value is None, row.error.value or 0.0), reverse=True)
    for position, name in enumerate(names):
        axes = figure.add_subplot(grid[position // 3, 1 + position % 3])
        _bars(axes, comparison, ordered, name)
        axes.set_ylim(-0.6, len(ordered) - 0.4)  # also where the outermost rows have no bar
        axes.set_yticks(range(len(ordered)), [row.label for row in ordered] if position % 3 == 0 else [], fontsize=8)


def _bars(axes: Any, comparison: Comparison, rows: list[Row], name: str) -> None:
    metric, values = METRICS[name], [row.value(name) for row in rows]
    logarithmic = name in LOGARITHMIC and any(value for value in values)
    positive = [float(v) for v in values if v and v > (0.0 if metric.is_cost else FLOOR)]
    start = min(positive, default=1.0) / 3 if logarithmic else 0.0
    reach = max(positive, default=1.0)
    for height, (row, value) in enumerate(zip(rows, values, strict=True)):
        length = max(float(value or 0.0), start)
        if value is not None:
            axes.barh(height, length - start, left=start, height=0.66, color=BEST if is_best(comparison, row, name) else PLAIN)
        end = length if value is not None else start
        axes.annotate(
            shown(row, name), (end, height), xytext=(3, 0), textcoords="offset points", va="center", fontsize=6.5, color="0.25"
        )
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(start, start * (reach / start) ** 1.75)
    else:
        axes.set_xlim(0, 1.6 * max([float(v or 0.0) for v in values] + [TINY]))
    reference = comparison.effective_dimension.value
    if name == "effective_dimension" and reference is not None:
        axes.axvline(reference, color=REFERENCE, linewidth=1.0, linestyle=":")
    arrow = {1: " (larger is better)", -1: "", 0: " (dotted: the matrix)"}[metric.better]
    axes.set_title({"bytes": "memory", "solve": "time of a solve"}.get(name, metric.heading) + arrow, fontsize=9)
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x", which="major", color="0.92", linewidth=0.8)
    _plain(axes)


def _plain(axes: Any) -> None:
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
