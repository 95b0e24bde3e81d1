"""Importing the core or a plugin's entry module imports no framework, and discovers nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

HEAVY = "('torch', 'jax', 'cupy', 'sklearn', 'matplotlib', 'typer', 'scipy')"
MODULES = sorted(point.value for point in entry_points(group="curvature") if point.dist.name == "curvature")


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_first_party_plugins_are_there() -> None:
    assert {"curvature_numpy", "curvature_torch", "curvature_diagonal", "curvature_kronecker"} <= set(MODULES)


@pytest.mark.parametrize("module", ["curvature", "curvature.cli", *MODULES])
def test_import_is_light(module: str) -> None:
    assert _run(f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])") == "[]"


@pytest.mark.parametrize("module", MODULES)
def test_registering_is_light_too(module: str) -> None:
    code = f"import sys, {module}, curvature as cv; cv.registry.plugins(); print([m for m in {HEAVY} if m in sys.modules])"
    assert _run(code) == "[]"


def test_import_discovers_no_plugin() -> None:
    assert _run(f"import sys, curvature; print([m for m in {MODULES} if m in sys.modules])") == "[]"


def test_import_is_quick() -> None:
    # Processor time: that of the clock on the wall depends on what else the machine does.
    code = "import time; t = time.process_time(); import curvature; print(time.process_time() - t)"
    assert min(float(_run(code)) for _ in range(5)) < 0.6


def test_names_that_are_functions_stay_functions() -> None:
    """``curvature.backend``, ``curvature.approximation`` and ``curvature.comparison`` are packages too; the functions win."""
    code = (
        "import curvature as cv, curvature.backend, curvature.approximation, curvature.comparison, curvature.comparison.table\n"
        "from curvature.backend import ArrayBackend\n"
        "from curvature.comparison import Comparison\n"
        "cv.backend('numpy'); cv.approximations()\n"
        "print(callable(cv.backend), callable(cv.approximation), callable(cv.compare))"
    )
    assert _run(code) == "True True True"
