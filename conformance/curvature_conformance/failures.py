"""What a check raises, and the comparison that most of them make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .diagnosis import diagnose

if TYPE_CHECKING:
    from .setting import Setting

Array = Any


class CheckFailure(AssertionError):
    """A subject does not do what its contract says.

    Args:
        what: what was computed.
        found: what came out, in words.
        formula: what it should be, with its source.
        causes: the usual causes.
        diagnosis: what the numbers themselves suggest.
    """

    def __init__(self, what: str, found: str, *, formula: str = "", causes: str = "", diagnosis: str = "") -> None:
        self.what, self.found, self.formula, self.causes, self.diagnosis = what, found, formula, causes, diagnosis
        lines = [f"{what}: {found}"]
        lines += [
            f"{label}: {text}"
            for label, text in (("expected", formula), ("diagnosis", diagnosis), ("usual causes", causes))
            if text
        ]
        super().__init__("\n  ".join(lines))


def deviation(found: np.ndarray, expected: np.ndarray) -> float:
    """max |found - expected| / max |expected| (absolute where all that is expected is zero); NaN counts as infinite."""
    if expected.size == 0:
        return 0.0
    gap = float(np.max(np.abs(found - expected)))
    largest = float(np.max(np.abs(expected)))
    relative = gap / largest if largest > 0 else gap
    return relative if np.isfinite(relative) else float("inf")


def expect_close(
    setting: Setting,
    found: Any,
    expected: Any,
    what: str,
    *,
    formula: str,
    causes: str = "",
    tolerance: float = 1.0,
    facts: Mapping[str, float] | None = None,
) -> None:
    """Raise unless ``found``, an array of the backend under test, is ``expected`` to the tolerance of the dtype.

    Library, dtype and shape are compared as well as values.

    Args:
        tolerance: multiple of the setting's tolerance (1e-10 relative in float64, 2e-4 in float32).
        facts: numbers such as N by which a result is often wrong, by name; the message says which one it is.
    """
    array = setting.require_own(found, what)
    expected = np.asarray(expected)
    if array.shape != expected.shape:
        raise CheckFailure(what, f"shape {array.shape}", formula=f"shape {expected.shape}: {formula}", causes=causes)
    allowed = setting.tolerance * tolerance
    gap = deviation(array, expected)
    if gap <= allowed:
        return
    raise CheckFailure(
        what,
        f"relative deviation {gap:.2e}, allowed {allowed:.0e}; computed {_short(array)}, expected {_short(expected)}",
        formula=formula,
        causes=causes,
        diagnosis=diagnose(array, expected, allowed, facts or {}),
    )


def expect(condition: bool, what: str, found: str, *, formula: str = "", causes: str = "") -> None:
    """Raise unless ``condition``."""
    if not condition:
        raise CheckFailure(what, found, formula=formula, causes=causes)


def _short(array: np.ndarray) -> str:
    flat = np.ravel(array)
    shown = ", ".join(f"{value:.6g}" for value in flat[:4])
    return f"[{shown}{', …' if flat.size > 4 else ''}]" if array.ndim else f"{float(array):.10g}"
