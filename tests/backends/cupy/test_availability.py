"""Without CuPy, a driver or a GPU the backend is listed with the reason, and nothing raises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import curvature as cv

REPORT = """
import curvature as cv
info = next(info for info in cv.backends() if info.name == "cupy")
print(info.status, "|", info.reason)
"""

# What stands in for CuPy has no arrays: only what is asked before there could be any.
STAND_IN = """
__version__ = {version!r}

class CUDARuntimeError(RuntimeError):
    pass

def count():
    {count}

class cuda:
    class runtime:
        getDeviceCount = staticmethod(count)
"""


def ask(code: str, folder: Path) -> str:
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    alone = {"PYTHONPATH": path, "CURVATURE_DISABLE_PLUGINS": "torch,jax"}  # other frameworks take long to import
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | alone, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_cupy_it_is_not_installed(tmp_path: Path) -> None:
    status, _, reason = ask("import sys; sys.modules['cupy'] = None" + REPORT, tmp_path).partition(" | ")
    assert status == "not installed"
    assert "pip install 'curvature[cupy]'" in reason


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (STAND_IN.format(version="12.3.0", count="return 1"), "cupy 12.3.0 is too old, 13.6 or later is needed"),
        (STAND_IN.format(version="13.5.1", count="return 1"), "cupy 13.5.1 is too old"),
        (STAND_IN.format(version="13.6.0", count="return 0"), "CuPy sees no CUDA device"),
        (
            STAND_IN.format(version="14.2.0", count="raise CUDARuntimeError('cudaErrorInsufficientDriver')"),
            "CUDARuntimeError: cudaErrorInsufficientDriver",
        ),
        (STAND_IN.format(version="14.2.0", count="return 1"), "cupyx"),  # a device, but not the libraries
        ("raise ImportError('libcuda.so.1: cannot open shared object file')", "ImportError: libcuda.so.1"),
    ],
    ids=["old", "a little too old", "no device", "no driver", "no libraries", "does not load"],
)
def test_a_cupy_that_cannot_be_used_says_why(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "cupy.py").write_text(source)
    (tmp_path / "cupyx.py").write_text("raise ImportError('cupyx: libcublas.so.12: cannot open shared object file')")
    status, _, reason = ask(REPORT, tmp_path).partition(" | ")
    assert status == "not usable"
    assert words in reason


def test_asking_for_it_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text(STAND_IN.format(version="14.2.0", count="return 0"))
    code = (
        "import curvature as cv\n"
        "try:\n    cv.backend('cupy', device='cuda')\n"
        "except cv.BackendUnavailableError as error:\n    print(error)"
    )
    assert "backend 'cupy' cannot be used here: CuPy sees no CUDA device" in ask(code, tmp_path)


def test_it_is_registered_by_this_distribution() -> None:
    info = next(info for info in cv.backends() if info.name == "cupy")
    assert info.distribution == "curvature"
    assert info.status in ("usable", "not installed", "not usable")
