"""The environment of worker processes: what a backend's plugin asks for, and one thread for each process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from curvature.registry import hooks

from ..reports.provenance import FULL_PRECISION

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""The arrays are tiny, and several processes run side by side: more threads would only wait for one another."""


def asked_for(backend: str, device: Any) -> dict[str, str]:
    """What plugins ask for through the hook ``curvature_conformance_environment``; what the user has set stays.

    Raises:
        TypeError: a plugin returned something else than a mapping of strings.
    """
    found: dict[str, str] = {}
    for answer in hooks().curvature_conformance_environment(backend=backend, device=device):
        if not isinstance(answer, Mapping) or not all(isinstance(part, str) for pair in answer.items() for part in pair):
            raise TypeError(f"curvature_conformance_environment returned {answer!r}, which is no mapping of strings")
        found |= answer
    return _unset(found)


def of_worker(extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a worker process."""
    return {**os.environ, **_unset(FULL_PRECISION), **_unset(THREADS), **extra}


def _unset(wanted: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in wanted.items() if name not in os.environ}
