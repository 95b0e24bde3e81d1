"""The figure of a record: the error against steps and against seconds."""

from __future__ import annotations

import math
from pathlib import Path

from .record import Record

LEAST = 1e-16
"""What is shown of an error that rounding has made zero or less."""


def draw(record: Record, path: Path) -> None:
    """A line for each seed, the one whose final error is the median one drawn thick; nothing if there are none."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True, layout="constrained")
    for number, (name, found) in enumerate(record["contenders"].items()):
        lines = [_lines(run) for run in found["runs"] if run["columns"] and run["steps"]]
        lines.sort(key=lambda line: line[2][-1])
        for place, (steps, seconds, values) in enumerate(lines):
            is_median = place == (len(lines) - 1) // 2
            style = {"color": f"C{number}", "lw": 1.8 if is_median else 0.6, "alpha": 1.0 if is_median else 0.35}
            axes[0].plot(steps, values, label=name if is_median else None, **style)
            axes[1].plot(seconds, values, **style)
    if not any(math.isfinite(value) for line in axes[0].lines for value in line.get_ydata()):
        plt.close(figure)
        return
    for axis, label in zip(axes, ("steps", "seconds"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.grid(alpha=0.2)
        for target in record["targets"]:
            axis.axhline(target, color="black", lw=0.5, ls=":")
    axes[0].set_ylabel(record["measured"])
    axes[0].legend(fontsize="small")
    figure.suptitle(record["summary"], fontsize="medium")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _lines(run: Record) -> tuple[list[float], list[float], list[float]]:
    """Steps, seconds and figures after the start, which a logarithmic axis has not."""
    steps, seconds, values = list(run["columns"].values())[:3]
    kept = [
        (step, second, value) for step, second, value in zip(steps, seconds, values, strict=True) if step and value is not None
    ]
    kept = kept or [(1, seconds[-1] or 1e-3, math.nan)]
    return [row[0] for row in kept], [row[1] for row in kept], [max(row[2], LEAST) for row in kept]
