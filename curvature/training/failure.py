"""Numbers that fail, as opposed to a mistake in the call, which is for the caller to see."""

from __future__ import annotations

from ..errors import ConvergenceError, DataError, NotPositiveDefiniteError

NUMERICAL = (DataError, NotPositiveDefiniteError, ConvergenceError)
"""What an optimiser raises when they do."""

REJECTED = 3
"""Steps in a row that left the numbers and were taken back: more of them will not help."""


class NumbersFailed(Exception):
    """The run cannot go on."""
