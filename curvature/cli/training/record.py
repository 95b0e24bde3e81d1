"""The record of the whole command, for JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import datetime
from importlib import metadata
from typing import Any

from ...backend import Backend
from ...problem import Model
from .data import DataSet
from .run import Run, common_loss

PACKAGES = ("curvature", "array-api-compat", "matplotlib", "numpy", "optree", "scikit-learn")


def versions(backend: Backend) -> dict[str, str]:
    """Version of Python and of every package that had a part in the numbers."""
    found = {"python": platform.python_version()}
    for package in sorted({*PACKAGES, backend.name}):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe(
    *,
    started: datetime,
    arguments: dict[str, Any],
    backend: Backend,
    data: DataSet,
    widths: Sequence[int],
    model: Model,
    threads: int | None,
    runs: Sequence[Run],
) -> dict[str, Any]:
    """Everything that is needed to judge the results and to get them again."""
    train, test = data.sizes
    return {
        "format": 1,
        "command": "curvature train",
        "started": started.isoformat(timespec="seconds"),
        "interrupted": any(run.record.interrupted for run in runs),
        "arguments": arguments,
        "versions": versions(backend),
        "platform": {
            "system": platform.platform(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "threads": threads or "all",
        },
        "backend": {"name": backend.name, "device": str(backend.device or "default"), "dtype": str(backend.dtype)},
        "data": {
            "name": data.name,
            "source": data.source,
            "training_examples": train,
            "test_examples": test,
            "features": data.features,
            "classes": data.classes,
        },
        "model": {
            "kind": "multilayer perceptron",
            "activation": "tanh",
            "widths": list(widths),
            "parameters": model.space.size,
        },
        "loss": "mean cross-entropy of the training examples",
        "common_loss": common_loss(runs),
        "runs": [_run(run, common_loss(runs)) for run in runs],
    }


def _run(run: Run, target: float | None) -> dict[str, Any]:
    contender, record = run.contender, run.record.as_dict()
    final = record["curve"][-1]
    reached = None if target is None else run.record.reached(target)
    return {
        "optimizer": contender.key,
        "label": contender.label,
        "settings": contender.settings,
        "batch_size": contender.batch_size,
        "result": {
            "training_loss": final["loss"],
            "test_loss": final["test"]["loss"],
            "test_accuracy": final["test"]["accuracy"],
            "steps": record["steps"],
            "seconds": record["seconds"],
            "to_common_loss": None if reached is None else {"steps": reached.step, "seconds": reached.seconds},
        },
        "interrupted": record["interrupted"],
        "error": record["error"] or record["stopped"],
        "curve": record["curve"],
    }
