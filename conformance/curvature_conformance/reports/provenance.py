"""Where, when and with what a report was made."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import curvature as cv

FULL_PRECISION = {"NVIDIA_TF32_OVERRIDE": "0", "JAX_DEFAULT_MATMUL_PRECISION": "highest"}
"""Environment in which GPU libraries multiply float32 matrices in float32, read when a library is loaded."""

_KINDS = {"cuda": "cuda", "gpu": "cuda", "rocm": "rocm", "mps": "mps", "xpu": "xpu", "tpu": "tpu", "cpu": "cpu"}


def ask_for_full_precision() -> None:
    """Set what of ``FULL_PRECISION`` the user has not set; to be called before a framework is imported."""
    for name, value in FULL_PRECISION.items():
        os.environ.setdefault(name, value)


def environment() -> dict[str, str]:
    """What of ``FULL_PRECISION`` is set, as it is set."""
    return {name: os.environ[name] for name in FULL_PRECISION if name in os.environ}


def device_kind(device: str) -> str:
    """The kind of a device ("cpu", "cuda", …), whatever its library calls it (``<CUDA Device 0>``, ``TFRT_CPU_0``)."""
    text = device.lower()
    return next((kind for word, kind in _KINDS.items() if word in text), text)


def device_name(device: Any) -> str:
    """The hardware: the product name of an accelerator, the model of a CPU; "unknown" where nobody says."""
    own = str(getattr(device, "device_kind", ""))  # JAX
    if own not in ("", "cpu", "gpu"):
        return own
    kind = device_kind(str(device))
    if kind == "cuda":
        models = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
        return " or ".join(dict.fromkeys(models)) or "unknown"
    return _processor() if kind == "cpu" else "unknown"


def commit() -> str:
    """The commit of the working tree that ``curvature`` is imported from, with "-dirty" if files differ; else ""."""
    folder = Path(cv.__file__).resolve().parent
    if not _output("git", "-C", str(folder), "ls-files", "__init__.py"):
        return ""  # installed, perhaps inside of somebody else's repository
    return _output("git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def date() -> str:
    """Now, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def framework(backend: cv.Backend) -> str:
    """Import name of the array library under a backend."""
    name = getattr(backend.xp, "__name__", type(backend.xp).__name__)
    return str(name).removeprefix("array_api_compat.").partition(".")[0]


def versions(backend: cv.Backend) -> dict[str, str]:
    """Versions of Python, of this library, and of the array libraries at work."""
    found = {"python": platform.python_version(), "curvature": cv.__version__, "numpy": np.__version__}
    for name in (framework(backend), "array-api-compat"):
        version = _version(name)
        if version:
            found.setdefault(name, version)
    return found


def _version(name: str) -> str:
    # The module first: the distributions of some libraries have other names (cupy-cuda12x).
    module = sys.modules.get(name.replace("-", "_"))
    if isinstance(getattr(module, "__version__", None), str):
        return str(module.__version__)  # type: ignore[union-attr]
    try:
        return metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        return ""


@cache
def _processor() -> str:
    return next(_models(), "") or platform.processor() or platform.machine() or "unknown"


def _models() -> Iterator[str]:
    """Models of the processors, where Linux tells."""
    try:
        lines: Iterable[str] = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = ()
    for line in lines:
        if line.startswith("model name"):
            yield line.partition(":")[2].strip()


@cache
def _output(*command: str) -> str:
    """What a command prints, asked once; "" where there is no such command or it fails."""
    quiet = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # git must not write while it looks
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=quiet)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
