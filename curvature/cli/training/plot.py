"""The picture: training loss against steps and against seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .run import Run

# Distinct in print and to the colour-blind (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def draw(path: Path, title: str, runs: Sequence[Run]) -> None:
    """Write the picture as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Without pyplot: no global state, and no display is looked for.
    figure = Figure(figsize=(10.0, 4.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    for run, colour in zip(runs, COLOURS, strict=False):
        _curve(left, run, colour, [point.step for point in run.record.curve])
        _curve(right, run, colour, [point.seconds for point in run.record.curve])
    left.set_xlabel("steps")
    left.set_ylabel("training loss (mean cross-entropy)")
    right.set_xlabel("seconds")
    for axes in (left, right):
        axes.set_yscale("log")
        axes.set_xlim(left=0)
        axes.grid(True, which="major", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, format="png")


def _curve(axes: Any, run: Run, colour: str, positions: list[Any]) -> None:
    losses = [point.loss for point in run.record.curve]
    size = run.contender.batch_size
    label = f"{run.contender.label} ({'all examples' if size is None else f'minibatches of {size}'})"
    axes.plot(positions, losses, color=colour, linewidth=1.8, label=label)
    axes.plot(positions[-1:], losses[-1:], "o", color=colour, markersize=5)
