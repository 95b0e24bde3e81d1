"""What the numbers themselves say about a deviation: a factor, a sign, a transpose, a lost precision."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def diagnose(found: np.ndarray, expected: np.ndarray, tolerance: float, facts: Mapping[str, float]) -> str:
    """A sentence that names the simplest mistake which explains ``found``, or ""."""
    if not np.all(np.isfinite(found)):
        return "the result is NaN or infinite"
    near = max(1e-6, 10 * tolerance)
    size = float(np.max(np.abs(expected), initial=0.0))
    if size == 0:
        return ""
    gap = float(np.max(np.abs(found - expected))) / size
    if not np.any(found):
        return "the result is zero"
    if tolerance < 1e-8 and gap < 1e-6:
        return "the deviation is that of single precision: something was computed or stored in float32"
    ratio = float(np.vdot(expected, found) / np.vdot(expected, expected))
    if ratio != 0 and np.max(np.abs(found - ratio * expected)) <= near * size * abs(ratio):
        return _factor(ratio, facts, near)
    if _is_square(expected):
        if np.max(np.abs(found - expected.T)) <= near * size:
            return "it is the transpose of what is expected"
        if np.max(np.abs(np.diag(found) - np.diag(expected))) <= near * size:
            return "the diagonal is right, entries off it are not"
    same = np.abs(found - expected) <= near * size
    if 0 < np.count_nonzero(same) < same.size:
        return f"{np.count_nonzero(~same)} of {same.size} entries are wrong, the others agree"
    return ""


def _is_square(array: np.ndarray) -> bool:
    return array.ndim == 2 and array.shape[0] == array.shape[1] and array.shape[0] > 1


def _factor(ratio: float, facts: Mapping[str, float], near: float) -> str:
    if abs(ratio + 1) <= near:
        return "the sign is wrong: it is -1 times what is expected"
    for power, label in ((1, "{}"), (-1, "1/{}"), (2, "{}²"), (0.5, "√{}"), (-0.5, "1/√{}")):
        for name, value in facts.items():
            # A plain factor 2 or 1/2 is seldom the root of N = 4.
            rooted = abs(power) == 0.5 and min(abs(ratio - 2), abs(ratio - 0.5)) <= near
            if value > 0 and value != 1 and not rooted and abs(ratio - value**power) <= near * abs(ratio):
                what = label.format(name)
                return f"it is {what} = {value**power:.6g} times what is expected (a sum for a mean, or the reverse?)"
    return f"it is {ratio:.6g} times what is expected"
