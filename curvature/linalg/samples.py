"""The mean of independent samples."""

from __future__ import annotations

from typing import Any

import numpy as np


def mean_and_error(samples: Any) -> tuple[float, float]:
    """The mean of independent samples (m,) and its standard error; infinite for a single one."""
    count = len(samples)
    return float(np.mean(samples)), float(np.std(samples, ddof=1) / np.sqrt(count)) if count > 1 else float("inf")
