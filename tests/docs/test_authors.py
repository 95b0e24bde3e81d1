"""The page for authors: its code runs and conforms, its failure is the one that is printed, and its names exist."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

import curvature as cv
from curvature import hookspecs
from curvature.backend import CAPABILITIES
from curvature.cli import conform as command
from curvature.cli.app import app
from curvature.cli.skeleton import rendered
from curvature.problem import LayerValues
from curvature_conformance import Exact, all_checks, all_scenarios, plugin, testing
from curvature_conformance.diagnosis import diagnose
from curvature_conformance.setting import TOLERANCES

FILE = Path(__file__).resolve().parents[2] / "docs" / "authors.md"
PAGE = FILE.read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
TICKED = re.findall(r"`([^`\n]+)`", PROSE)

_BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
_OF_A_FILE = re.compile(r"# ([\w/]+\.py)(?:, continued)?\n")
SCRIPTS = [block for block in _BLOCKS if not _OF_A_FILE.match(block)]
PLANTED = ("values.squared_gradient()", "2.0 * values.squared_gradient()")


def _files() -> dict[str, str]:
    """Path → text of the files that the page shows, in one piece or several."""
    found: dict[str, str] = {}
    for block in _BLOCKS:
        if name := _OF_A_FILE.match(block):
            found[name[1]] = found.get(name[1], "") + block
    return found


def _write(folder: Path) -> Path:
    for name, text in _files().items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for entry, package in re.findall(r'entry point `([\w-]+) = "(\w+)"` installed', PAGE):
        metadata = folder / f"{package}-0.1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {entry}\nVersion: 0.1.0\n", encoding="utf-8")
        (metadata / "entry_points.txt").write_text(f"[curvature]\n{entry} = {package}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of the page, as if they were installed, and its other files."""
    return _write(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def mistaken(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the mistake that the page plants."""
    folder = tmp_path_factory.mktemp("mistaken") / "site"
    shutil.copytree(installed, folder, ignore=shutil.ignore_patterns("__pycache__"))
    method = folder / "my_diagonal" / "method.py"
    text = method.read_text(encoding="utf-8")
    assert text.count(PLANTED[0]) == 1
    method.write_text(text.replace(*PLANTED), encoding="utf-8")
    return folder


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200", "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environ, capture_output=True, encoding="utf-8", check=False
    )


# What runs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=[f"block-{i}" for i in range(len(SCRIPTS))])
def test_the_code_runs_as_written(installed: Path, script: str) -> None:
    done = _run(installed, "-c", script)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["Approximation", "ArrayBackend", "Likelihood", "Operator"])
def test_each_kind_has_an_example_that_is_shown_to_conform(kind: str) -> None:
    (defined,) = [name for block in _BLOCKS for name in re.findall(rf"class (\w+)\(cv\.{kind}\):", block)]
    subject = {"Exchangeable": "A", "Geometric": "Geometric()", "MyDiagonal": "MyDiagonal()", "MyBackend": '"my-backend"'}
    shown = rf"^assert issues\({re.escape(subject[defined])}[,)].*== \[\]"
    assert re.search(shown, "".join(SCRIPTS), flags=re.MULTILINE)


def test_the_commands_give_the_exit_codes(installed: Path) -> None:
    assert "`curvature conform problem.py`" in PROSE
    done = _run(installed, "-m", "curvature", "conform", "problem.py")
    assert (done.returncode, "10 of 10 checks in order" in done.stdout) == (0, True), done.stderr
    assert _run(installed, "-m", "curvature", "conform", "my-diagonial").returncode == 2


@pytest.mark.parametrize("arguments", [("test_my_diagonal.py",), ("the plugin", "--curvature-fast")])
def test_pytest_finds_the_tests(installed: Path, arguments: tuple[str, ...]) -> None:
    (plugged,) = re.findall(r"^pytest (.*--curvature-approximation my-diagonal)$", PAGE, flags=re.MULTILINE)
    chosen = [part for word in arguments for part in (plugged.split() if word == "the plugin" else [word])]
    done = _run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 100


# The failure -------------------------------------------------------------------------------------------


def test_the_failure_is_the_one_that_is_printed(mistaken: Path) -> None:
    assert f"Write `2.0 *` before `{PLANTED[0]}`" in PROSE
    (line,) = re.findall(r"^curvature conform (my-diagonal --check .*)$", PAGE, flags=re.MULTILINE)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
    done = _run(mistaken, "-m", "curvature", "conform", *line.replace('"', "").split())
    assert done.returncode == 1, done.stderr
    assert f"{' '.join(shown.split())} approximation 'my-diagonal' on 'numpy'" in " ".join(done.stdout.split())
    for label in ("expected:", "diagnosis:", "usual causes:", "source:"):
        assert f"| `{label}` |" in PAGE
        assert f"\n  {label}" in done.stdout


def test_the_check_itself_raises(mistaken: Path) -> None:
    (script,) = [block for block in SCRIPTS if "trial.check.function" in block]
    done = _run(mistaken, "-c", script)
    assert "curvature_conformance.failures.CheckFailure" in done.stderr


def test_without_a_theorem_one_number_alone_shows_the_mistake(mistaken: Path) -> None:
    script = (
        "import my_diagonal\n"
        "del my_diagonal.curvature_conformance_theorems, my_diagonal.curvature_conformance_scenarios\n"
        "from curvature_conformance import issues\n"
        "print(sorted({issue.partition(' on ')[0] for issue in issues('my-diagonal', fast=True)}))"
    )
    assert "that a Fisher of one number is not approximated" in PAGE
    assert _run(mistaken, "-c", script).stdout.strip() == "['theorems/one-number-is-not-approximated']"


E = np.arange(1.0, 10.0).reshape(3, 3)
FACTS = {"N": 6.0, "the sum of the weights": 7.5, "N/Σw": 0.8, "the number of batches": 3.0}
WRONG = {
    "NaN": E * np.nan,
    "zero": 0 * E,
    "single precision": E.astype(np.float32) * (1 + 1e-8),
    "two": 2 * E,
    "N": 6 * E,
    "1/N": E / 6,
    "N²": 36 * E,
    "Σw": 7.5 * E,
    "N/Σw": 0.8 * E,
    "batches": 3 * E,
    "√N": 6**0.5 * E,
    "1/√N": E / 6**0.5,
    "sign": -E,
    "transpose": E.T,
    "off the diagonal": E + 1 - np.eye(3),
    "an entry": E + np.eye(3)[:, :1] * np.eye(3)[:1],
}


def _diagnoses() -> list[str]:
    table = PAGE.partition("| diagnosis | what it most often is |\n|---|---|\n")[2].partition("\n\n")[0]
    cells = [row.split("|")[1].strip() for row in table.splitlines()]
    return [part if part.startswith(("it", "the", "…")) else f"it is {part}" for c in cells for part in c.split(", or ")]


@pytest.mark.parametrize("name", WRONG)
def test_every_diagnosis_has_a_row(name: str) -> None:
    said = diagnose(WRONG[name], E, 1e-10, FACTS)
    assert said
    rows = [row for row in _diagnoses() if re.match(re.escape(row).replace("…", ".*"), said)]
    assert rows, said


def test_every_row_is_a_diagnosis() -> None:
    said = [diagnose(wrong, E, 1e-10, FACTS) for wrong in WRONG.values()]
    for row in _diagnoses():
        assert any(re.match(re.escape(row).replace("…", ".*"), text) for text in said), row


# Names -------------------------------------------------------------------------------------------------


def _resolves(name: str) -> bool:
    module, *rest = name.split(".")
    found: object = cv if module == "cv" else importlib.import_module(module)
    path = "curvature" if module == "cv" else module
    for part in rest:
        path = f"{path}.{part}"
        if not hasattr(found, part):
            try:
                importlib.import_module(path)
            except ImportError:
                return False
        found = getattr(found, part)
    return True


def test_dotted_names_exist() -> None:
    texts = [*TICKED, *_BLOCKS]
    names = {name for text in texts for name in re.findall(r"\b(?:cv|curvature|curvature_conformance)(?:\.[A-Za-z_]\w*)+", text)}
    assert len(names) > 50
    assert [name for name in sorted(names) if not _resolves(name)] == []


def test_checks_and_scenarios_exist() -> None:
    checks, scenarios = {check.name for check in all_checks()}, {scenario.name for scenario in all_scenarios()}
    kinds = {name.partition("/")[0] for name in checks | scenarios}
    named = {t for t in TICKED if re.fullmatch(r"[a-z-]+/[a-z-]+", t) and t.partition("/")[0] in kinds}
    assert len(named) > 10
    assert named <= checks | scenarios


def _options(*path: str) -> set[str]:
    found = typer.main.get_command(app)
    for name in path:
        found = found.commands[name]  # type: ignore[attr-defined]
    return {option for parameter in found.params for option in parameter.opts if option.startswith("--")}


def test_all_options_are_on_the_page_and_no_others() -> None:
    plugged = set(re.findall(r'"(--curvature-[a-z]+)"', inspect.getsource(plugin)))
    known = _options("conform") | _options("new", "backend") | plugged
    texts = [*TICKED, *re.findall(r"^curvature .*$|^pytest .*$", PAGE, flags=re.MULTILINE)]
    named = {option for text in texts for option in re.findall(r"(?<!\S)--[a-z-]+", text)}
    assert named - {"--pyargs"} == known


def test_exit_codes_are_those_of_the_command() -> None:
    rows = [int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)]
    assert rows == [0, command.FAILED, command.USAGE, command.NOT_RUN, command.INTERRUPTED]


def test_hooks_exist_and_those_of_the_suite_are_all_there() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("curvature_")}
    named = set(re.findall(r"\bcurvature_(?!conformance\b)\w+", PAGE))
    assert named <= hooks
    assert {name for name in hooks if name.startswith("curvature_conformance_")} <= named


def _section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _members(kind: type) -> set[str]:
    return {name for name in {**vars(kind), **inspect.get_annotations(kind)} if not name.startswith("_")}


@pytest.mark.parametrize(
    ("title", "kind", "others"),
    [
        ("An approximation", cv.Approximation, set()),
        ("A backend", cv.Backend, set()),
        ("A likelihood", cv.Likelihood, set()),
        ("An operator", cv.Operator, {"xp", "certificate"}),
    ],
)
def test_every_member_is_in_the_tables(title: str, kind: type, others: set[str]) -> None:
    assert _members(kind) - _first_cells(title) - others == set()


def test_what_a_layer_offers_exists() -> None:
    table = _first_cells("An approximation") - _members(cv.Approximation) - {"needs", "extensions"}
    assert table - {"layer"} <= _members(LayerValues)
    assert len(table) > 10


def _first_cells(title: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", _section(title), flags=re.MULTILINE))))


@pytest.mark.parametrize(("title", "kind"), [("A likelihood", cv.Likelihood), ("An operator", cv.Operator)])
def test_what_is_abstract_is_required(title: str, kind: type) -> None:
    rows = re.findall(r"^\|([^|]*)\|[^|]*\*\*required\*\*", _section(title), flags=re.MULTILINE)
    required = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert kind.__abstractmethods__ <= required


def test_what_a_bare_backend_must_have_is_marked() -> None:
    rows = re.findall(r"^\|([^|]*)\|[^|]*\|[^|]*\| – \|$", _section("A backend"), flags=re.MULTILINE)
    marked = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert marked == cv.Backend.__abstractmethods__ | {"name", "xp", "device", "dtype", "capabilities"}


def test_claims_theorems_classes_and_tolerances_are_complete() -> None:
    assert {*CAPABILITIES, *cv.Support.__members__} <= set(TICKED)
    assert set(Exact.__dataclass_fields__) <= set(TICKED)
    classes = testing.Conformance.__subclasses__()
    assert {f"{kind.__module__}.{kind.__name__}" for kind in classes if kind.__module__ == testing.__name__} <= set(TICKED)
    assert set(inspect.get_annotations(testing.Conformance)) - {"kind"} <= set(TICKED)
    assert {name: float(value) for value, name in re.findall(r"\b(\de-\d+) in (float\d+)\b", PROSE)} == TOLERANCES


def test_the_files_that_are_written_are_listed() -> None:
    names = {"name": "my-method", "module": "my_method", "class_name": "MyMethod", "version": "1"}
    names |= {"namespace": "array_api_strict", "library": "array_api_strict", "requirement": "array-api-strict"}
    cells = re.findall(r"^\|([^|]*)\|", _section("Start from a project that works"), flags=re.MULTILINE)
    listed = set(re.findall(r"`([^`]+)`", "".join(cells)))
    written = {path for kind in ("approximation", "backend") for path in rendered(kind, names)}
    assert {Path(path).name for path in written} == {Path(path).name for path in listed}


# The page ----------------------------------------------------------------------------------------------


def test_headings_that_are_linked_exist_and_lines_are_short() -> None:
    headings = re.findall(r"^#+ (.+)$", PROSE, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
    assert [line for line in PAGE.splitlines() if len(line) > 130] == []
