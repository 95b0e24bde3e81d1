"""The doors of the suite: the command, the pytest plugin, the function; and that the latter two agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import curvature as cv
from curvature.cli.app import app
from curvature_conformance import issues, plan, run, subject_of
from curvature_conformance.reports import provenance
from curvature_conformance.reports.format import defects, file_stem


def command(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["conform", *arguments])


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    result = command("diagonal", "--report", str(path), "--commit", "0123456789" * 4)
    assert result.exit_code == 0, result.output
    assert "theorems/the-nearest-diagonal-matrix" in result.output
    assert "conforms" in result.output
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["format"] == 2
    assert record["conforms"]
    assert (record["backend"], record["dtype"]) == ("numpy", "float64")
    assert {"python", "curvature", "numpy"} <= set(record["versions"])
    assert defects(record) == []
    assert file_stem(record) == "diagonal-numpy-cpu"
    assert record["commit"] == "0123456789" * 4
    assert provenance.FULL_PRECISION.items() <= record["environment"].items()
    assert {outcome["status"] for outcome in record["outcomes"]} == {"passed"}


def test_the_command_fails_with_the_failures_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv, "Fisher", cv.EmpiricalFisher)
    path = tmp_path / "report.md"
    result = command("diagonal", "--report", str(path), "--processes", "1")  # in this process, where it is planted
    assert result.exit_code == 1
    assert "usual causes:" in result.output
    assert "does not conform" in result.output
    assert "## failed: theorems/exact-where-theory-says-so" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("numpi",), "did you mean 'numpy'"),
        (("shampo",), "did you mean 'shampoo'"),
        (("kfac", "--backend", "numpi"), "did you mean 'numpy'"),
        (("numpy", "--backend", "strict"), "is a backend itself"),
        (("kfac", "--report", "report.pdf"), ".json, .md or .html"),
        (("kfac", "--check", "spectra/logdte"), "did you mean 'spectra/logdet'"),
        (("kfac", "--scenario", "one-datum/thanh"), "did you mean 'one-datum/tanh'"),
        (("kfac", "--processes", "0"), "greater than or equal to 1"),
        (("no-such-file.py",), "there is no file"),
        (("kfac", "--commit", "0123abc"), "all 40 hexadecimal digits"),
        (("kfac", "--report", "no/such/folder/report.md"), "does not exist"),
        (("kfac", "--dtype", "float16"), "float16"),
    ],
)
def test_bad_usage_is_said_before_anything_runs(arguments: tuple[str, ...], words: str) -> None:
    result = command(*arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_an_unusable_backend_is_not_run() -> None:
    class Absent:
        @cv.hookimpl
        def curvature_register_backends(self) -> list[cv.BackendSpec]:
            return [cv.BackendSpec("absent", loader="absent_framework:Backend", requires=("absent_framework",))]

    name = cv.register(Absent(), name="absent-plugin")
    try:
        result, required = command("absent"), command("absent", "--require")
    finally:
        cv.unregister(name)
    assert result.exit_code == 3
    assert "not run:" in result.output
    assert "pip install" in result.output
    assert required.exit_code == 1
    assert "required, but not run:" in required.output


def test_ctrl_c_shows_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    from curvature_conformance.running import trial

    real, count = trial.Trial.run, iter(range(100))

    def interrupted(self: trial.Trial) -> trial.Outcome:
        if next(count) == 5:
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(trial.Trial, "run", interrupted)
    result = command("kfac", "--processes", "1")
    assert result.exit_code == 130
    assert "interrupted: 5 of 5 checks in order" in result.output


def test_no_check_is_no_success() -> None:
    with pytest.raises(ValueError, match="no check of this subject is called 'no such check'"):
        run("numpy", only_checks="no such check")
    # A check that there is, on a scenario of which it says nothing.
    report = run("kfac", only_checks="theorems/not-exact*", only_scenarios="one-datum/tanh")
    assert not report.conforms
    assert "no check was run" in report.issues[0]


def test_a_class_and_an_object_are_subjects_too() -> None:
    kind = type(cv.approximation("diagonal"))
    assert subject_of(kind).name == subject_of(kind()).name == subject_of("diagonal").name == "diagonal"
    with pytest.raises(TypeError, match="a subject is"):
        subject_of(3)


def test_plans_have_distinct_names() -> None:
    for subject in ("numpy", "kfac"):
        names = [trial.name for trial in plan(subject_of(subject))]
        assert len(names) == len(set(names)) > 100


SUITE = ("-m", "pytest", "-p", "curvature_conformance.plugin", "--pyargs", "curvature_conformance.suite", "-q")


def elsewhere(folder: Path, *options: str, plugins: str = "") -> subprocess.CompletedProcess[str]:
    """Run pytest on the installed suite from an unrelated folder."""
    here = [str(folder), *(path for path in sys.path if path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(here), "PYTEST_PLUGINS": plugins}
    return subprocess.run(
        [sys.executable, *SUITE, "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_plugin_works_from_an_unrelated_folder(tmp_path: Path) -> None:
    result = elsewhere(
        tmp_path, "--curvature-backend", "numpy", "--curvature-approximation", "kfac", "-k", "kfac or linear-algebra"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "skipped" not in result.stdout
    collected = int(result.stdout.split(" passed")[0].split()[-1])
    assert collected >= len(plan(subject_of("kfac")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "name what to test"),
        (("--curvature-approximation", "shampo"), "did you mean 'shampoo'"),
        (("--curvature-backend", "kfac"), "no backend"),
    ],
)
def test_the_plugin_refuses_bad_usage(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    result = elsewhere(tmp_path, *options)
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr + result.stdout


BROKEN = """
from dataclasses import dataclass
import curvature as cv

Diagonal = type(cv.approximation("diagonal"))

@dataclass(frozen=True)
class Doubled(Diagonal):
    name = "diagonal"

@cv.build.dispatch
def build(method: Doubled, statistics: dict, structure: cv.Structure) -> cv.Operator:
    return 2.0 * cv.build(Diagonal(), statistics, structure)

class Plugin:
    @cv.hookimpl
    def curvature_register_approximations(self):
        return [cv.ApproximationSpec("doubled", loader="broken:Doubled")]

cv.register(Plugin(), name="broken")
"""


def test_the_plugin_reports_a_defect(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    result = elsewhere(tmp_path, "--curvature-approximation", "doubled", "-k", "nearest or exact", plugins="broken")
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout + result.stderr
    assert "it is 2 times what is expected" in result.stdout


def test_the_function_says_the_same_as_the_command() -> None:
    assert issues("diagonal", only_checks="theorems/*") == []
