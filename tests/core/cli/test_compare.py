"""``curvature compare`` from beginning to end, and how a command finds a problem."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import curvature as cv
from curvature.cli.app import app
from curvature.cli.problem_file import load_problem
from curvature.cli.training.problems import BadInput

FUNCTION = """
import numpy as np
import curvature as cv

def apply(params, x):
    return x @ params["w"] + params["b"]

def problem(backend):
    rng = np.random.default_rng(0)
    params = {"w": backend.asarray(rng.standard_normal((4, 3))), "b": backend.asarray(np.zeros(3))}
    data = backend.asarray(rng.standard_normal((20, 4))), backend.asarray(rng.integers(0, 3, 20))
    return cv.Problem((apply, params), cv.Categorical(), data)
"""
VARIABLE = FUNCTION + "\nproblem = problem(cv.backend('numpy'))\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FUNCTION)
    return path


def run(*arguments: object, width: int = 200) -> Result:
    environment = {**os.environ, "COLUMNS": str(width)}
    return CliRunner().invoke(app, ["compare", *map(str, arguments)], env=environment)


def refused(*arguments: object) -> str:
    result = run(*arguments, width=400)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return re.sub(r"[\s│]+", " ", result.output)


def test_a_table_a_record_and_a_figure(file: Path, tmp_path: Path) -> None:
    out, figure = tmp_path / "out.json", tmp_path / "out.png"
    result = run(file, "kfac", "diagonal", "--repeats", "1", "--damping", "0.1", "--json", out, "--plot", figure)
    assert result.exit_code == 0, result.output
    for words in ("Fisher of 15 parameters", "damping δ = 0.1 (as given)", "cosine", "KL (nats)", "gradients", "memory"):
        assert words in result.stdout
    assert re.search(r"^kfac +0\.\d+", result.stdout, re.MULTILINE)
    assert f"wrote {out} and {figure}" in result.stdout
    record = json.loads(out.read_text())
    assert [row["label"] for row in record["rows"]] == ["kfac", "diagonal"]
    assert cv.Comparison.load(out)["kfac"].gradients > 0
    assert figure.stat().st_size > 10_000


def test_all_but_exact_by_default(file: Path) -> None:
    result = run(file, "--repeats", "0", "--matrix", "monte-carlo")
    assert result.exit_code == 0, result.output
    names = {info.name for info in cv.approximations()} - {"exact"}
    assert {line.split()[0] for line in result.stdout.splitlines() if line.split()[:1] and line.split()[0] in names} == names
    assert not re.search(r"^exact ", result.stdout, re.MULTILINE)
    assert "kflr: 'kflr' propagates" in result.stdout, "what cannot be made says why"


@pytest.mark.parametrize(
    ("matrix", "name"), [("ggn", "GGN"), ("empirical", "EmpiricalFisher"), ("hessian", "Hessian"), ("fisher", "Fisher")]
)
def test_matrices(file: Path, matrix: str, name: str) -> None:
    result = run(file, "diagonal", "--repeats", "0", "--matrix", matrix)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{name} of 15 parameters")


def test_estimates_where_they_are_asked_for(file: Path) -> None:
    result = run(file, "kfac", "--repeats", "0", "--estimated", "--probes", "8", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert "estimated, ± 95 %" in result.stdout
    assert "±" in result.stdout.splitlines()[-1] or "±" in result.stdout


def test_a_terminal_of_80_columns(file: Path) -> None:
    result = run(file, "kfac", "--repeats", "1", width=80)
    table = [line for line in result.stdout.splitlines()[1:] if line]
    assert max(map(len, table)) <= 80


def test_warnings_are_said_in_one_line(file: Path) -> None:
    result = run(file, "sample-space", "--repeats", "0")
    assert result.exit_code == 0, result.output
    assert "note: sample-space: 20 examples" in result.output


def test_digits_has_an_affordable_exact_fisher() -> None:
    pytest.importorskip("sklearn")
    problem = load_problem("digits", seed=1)
    assert problem.space.size == 1510
    assert problem.data.single is not None
    assert problem.data.single.size == 500
    single = load_problem("digits", dtype="float32")
    assert str(single.model.dtype) == "float32"
    assert float(single.loss()) == pytest.approx(float(load_problem("digits").loss()), rel=1e-5)


# How a command finds a problem --------------------------------------------------------------------------


def test_a_function_is_given_the_backend(file: Path) -> None:
    assert load_problem(str(file)).backend.name == "numpy"
    assert load_problem(str(file), backend="torch", dtype="float32").backend.name == "torch"


def test_a_problem_is_taken_where_it_is_or_moved(file: Path) -> None:
    file.write_text(VARIABLE)
    assert load_problem(str(file)).backend.name == "numpy"
    moved = load_problem(str(file), backend="torch")
    assert moved.backend.name == "torch"
    assert float(moved.loss()) == pytest.approx(float(load_problem(str(file)).loss()))
    assert "float32" in str(load_problem(str(file), dtype="float32").model.dtype)


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_a_problem.py").write_text(VARIABLE)
    path = tmp_path / "mine.py"
    path.write_text("from neighbour_of_a_problem import problem\n")
    assert load_problem(str(path)).space.size == 15
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "defines no 'problem': give it a variable problem = curvature.Problem"),
        ("problem = 3\n", "problem is a int; make it a curvature.Problem"),
        (
            VARIABLE.replace("\nproblem =", "\ntask =").replace("def problem", "def _make").replace("problem(cv", "_make(cv"),
            "it has task",
        ),
        ("x = 1\n\nx.nothing\n", "line 3: AttributeError: 'int' object has no attribute 'nothing'"),
        ("def f(:\n", "line 1: SyntaxError"),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
        ("def problem(backend):\n    return 1\n", "returned a int, not a curvature.Problem"),
        ("def problem(backend):\n    raise ValueError('no data')\n", "line 2: ValueError: no data"),
    ],
)
def test_files_that_define_none(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(BadInput) as caught:
        load_problem(str(file))
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


def test_what_is_refused_before_any_work(file: Path, tmp_path: Path) -> None:
    assert "there is no file 'nowhere.py'" in refused("nowhere.py")
    assert "give 'digits', or a Python file" in refused("digit")
    other = tmp_path / "mine.txt"
    other.write_text("")
    assert "is no Python file" in refused(other)
    said = refused(file, "kfax")
    assert "no approximation is called 'kfax'" in said
    assert "did you mean" in said
    assert "did you mean 'numpy'" in refused(file, "--backend", "nunpy")
    assert "damping is a finite number > 0" in refused(file, "--damping", "-1")
    assert "--json" in refused(file, "--json", tmp_path / "out.txt")
    assert "--plot" in refused(file, "--plot", tmp_path / "out.jpg")
    assert "cannot write to" in refused(file, "--json", tmp_path / "missing" / "out.json")
    assert "--probes" in refused(file, "--probes", "1")
    assert "--matrix" in refused(file, "--matrix", "jacobian")


def test_a_package_that_is_missing(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'curvature[plot]'" in refused(file, "--plot", tmp_path / "out.png")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert "'digits' needs scikit-learn" in refused("digits")


def test_an_interruption_shows_what_is_done(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curvature.comparison import comparing

    measured = comparing._row

    def stop(made: object, *rest: object) -> object:
        if made.label == "diagonal":  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return measured(made, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(comparing, "_row", stop)
    result = run(file, "kfac", "diagonal", "--repeats", "0")
    assert result.exit_code == 130
    assert re.search(r"^kfac +0\.\d+", result.stdout, re.MULTILINE)
    assert "interrupted" in result.output
    assert "Traceback" not in result.output
