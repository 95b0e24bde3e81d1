"""To which operators a check applies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..cases.base import Form


def _at_least(form: Form) -> Callable[[Any], bool]:
    # Batches, weights and the reduction have no influence on what an operator does: plain scenarios are enough.
    return lambda case: case.scenario.is_plain and case.form >= form


ANY, SQUARE, SYMMETRIC, DEFINITE = map(_at_least, Form)
