"""Labels of points that do not lie on top of each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

STEP = 6.0
"""Distance of a label from its point, in points; then further and further out."""


class Label(NamedTuple):
    """A text for the point (x, y), whose error bar reaches from low to high."""

    x: float
    y: float
    text: str
    low: float
    high: float


def place(axes: Any, renderer: Any, labels: Sequence[Label]) -> None:
    """Write each text beside its point, at the nearest place that is free; a thin line leads to one that is far."""
    frame = axes.get_window_extent(renderer)
    scale = renderer.points_to_pixels(1.0)
    points = [axes.transData.transform((label.x, label.y)) for label in labels]
    taken = [(px - 5 * scale, py - 5 * scale, px + 5 * scale, py + 5 * scale) for px, py in points]
    for label in labels:
        (x, low), (_, high) = (axes.transData.transform((label.x, end)) for end in (label.low, label.high))
        taken.append((x - 3 * scale, low, x + 3 * scale, high))
    for (x, y, text, _, _), (px, py) in zip(labels, points, strict=True):
        note = axes.annotate(text, (x, y), fontsize=8.5, xytext=(0, 0), textcoords="offset points", annotation_clip=False)
        extent = note.get_window_extent(renderer)
        width, height = extent.width, extent.height
        best: tuple[float, tuple[float, float], tuple[float, float, float, float]] | None = None
        for dx, dy in _places(width / scale, height / scale):
            left, bottom = px + dx * scale, py + dy * scale
            box = (left, bottom, left + width, bottom + height)
            cost = sum(_overlap(box, other) for other in taken) + 4.0 * _outside(box, frame)
            if best is None or cost < best[0]:
                best = (cost, (dx, dy), box)
            if cost == 0:
                break
        assert best is not None
        (dx, dy), box = best[1], best[2]
        note.set_position((dx, dy))
        taken.append(box)
        middle = (dx + width / scale / 2, dy + height / scale / 2)
        if math.hypot(max(abs(middle[0]) - width / scale / 2, 0.0), max(abs(middle[1]) - height / scale / 2, 0.0)) > 2 * STEP:
            anchor = (min(max(0.0, dx), dx + width / scale), dy if dy > 0 else dy + height / scale)
            axes.annotate(
                "",
                (x, y),
                xytext=anchor,
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4},
            )


def _places(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Offsets of the lower left corner: right, left, above, below, and so on outwards."""
    yield from ((STEP, -height / 2), (-width - STEP, -height / 2), (-width / 2, STEP), (-width / 2, -height - STEP))
    for ring in range(1, 14):
        out = STEP + ring * height * 0.6
        for turn in range(16):
            angle = 2 * math.pi * turn / 16
            yield (math.cos(angle) * (out + width / 2) - width / 2, math.sin(angle) * (out + height / 2) - height / 2)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: tuple[float, ...], frame: Any) -> float:
    inside = _overlap(box, (frame.x0, frame.y0, frame.x1, frame.y1))
    return (box[2] - box[0]) * (box[3] - box[1]) - inside
