"""The classes to subclass in one's own tests: one test for each check, tolerances of one's own, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from curvature_conformance import plan, subject_of

HEAD = """
import curvature as cv
import numpy as np
from curvature_conformance import Expectation, testing
from curvature_conformance.testing import ApproximationConformance, LikelihoodConformance, OperatorConformance
"""


def collected(folder: Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    """pytest on a file with that body, in a process of its own."""
    (folder / "test_mine.py").write_text(HEAD + body, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        str(folder / "test_mine.py"),
        *options,
    ]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, encoding="utf-8", check=False)


PART = """
class TestDiagonal(ApproximationConformance):
    subject = "diagonal"
    scenarios = "one-datum/*"
"""


def test_there_is_one_test_for_each_check_and_scenario(tmp_path: Path) -> None:
    done = collected(tmp_path, PART, "-vv")
    assert done.returncode == 0, done.stdout
    names = [trial.name for trial in plan(subject_of("diagonal")) if getattr(trial.scenario, "family", "") == "one-datum"]
    assert f"{len(names)} passed" in done.stdout
    assert f"TestDiagonal::test_conformance[{names[0]}] PASSED" in done.stdout


SLOPPY = """
from curvature.operators import Dense

class Sloppy(Dense):
    def trace(self):
        return super().trace() * (1 + 1e-9)

class TestOperator(OperatorConformance):
    checks = "[as]*/*"  # it is no class of which files know
    tolerances = {tolerances}

    def make_subject(self):
        return Sloppy(np.diag([1.0, 2.0, 3.0]), backend=cv.backend("numpy"), symmetric=True)
"""


@pytest.mark.parametrize(("tolerances", "code"), [({}, 1), ({"algebra/*": 100}, 1), ({"spectra/*": 100}, 0)])
def test_tolerances_are_those_of_the_class(tmp_path: Path, tolerances: dict[str, float], code: int) -> None:
    done = collected(tmp_path, SLOPPY.replace("{tolerances}", repr(tolerances)))
    assert done.returncode == code, done.stdout
    assert ("expected: Σ_i A_ii" in done.stdout) is (code == 1)


GAPS = """
class TestLikelihood(LikelihoodConformance):
    subject = cv.Poisson()
    expectations = (Expectation("likelihood/draws-*", reason="{reason}"),)
"""


def test_a_gap_of_the_class_is_strict(tmp_path: Path) -> None:
    done = collected(tmp_path, GAPS.replace("{reason}", "it is said not to draw"))
    assert done.returncode == 1
    assert "it passes, but there is a declared gap" in done.stdout


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("class TestNone(ApproximationConformance): pass", "say what is tested"),
        ("class TestKind(ApproximationConformance):\n    subject = 'numpy'", "a class for kind 'approximation'"),
        ("class TestName(ApproximationConformance):\n    subject = 'diagonl'", "did you mean 'diagonal'"),
        (
            "class TestCheck(ApproximationConformance):\n    subject = 'diagonal'\n    checks = 'spectra/logdte'",
            "'spectra/logdet'",
        ),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, body: str, words: str) -> None:
    done = collected(tmp_path, body)
    assert done.returncode not in (0, 5)
    assert words in done.stdout + done.stderr
