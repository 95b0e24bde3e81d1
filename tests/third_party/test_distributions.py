"""A stranger's environment: wheels of this library, of both examples and of two new projects, installed by pip into a clean
virtual environment, and used from a folder that has nothing to do with them. Nothing comes from the working tree.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PACKAGES = ("curvature", "backends", "plugins", "conformance")
LEFT_BEHIND = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".pytest_cache")

pytestmark = pytest.mark.slow

# Two backends cannot own the arrays of one library: strict and the new one take turns.
WITHOUT = {"strict": "new-backend", "new-backend": "strict"}
PROJECTS = ("foof", "strict", "new-approximation", "new-backend")


@dataclass(frozen=True)
class Installed:
    """The clean environment.

    Attributes:
        python: its interpreter.
        elsewhere: a folder that has nothing to do with any of the packages.
        projects: copies of their sources, by name.
    """

    python: Path
    elsewhere: Path
    projects: dict[str, Path]

    def run(self, *command: str, folder: Path | None = None, without: str = "") -> str:
        """The output of a program of this environment, which must succeed."""
        return ran([str(self.python.parent / command[0]), *command[1:]], folder or self.elsewhere, without)


def ran(command: list[str], folder: Path, without: str = "") -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "CURVATURE"))}
    environment |= {
        "CURVATURE_STRICT_PLUGINS": "1",
        "CURVATURE_DISABLE_PLUGINS": without,
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(python: Path, folder: Path, *arguments: str) -> str:
    return ran([str(python), "-m", "pip", "--disable-pip-version-check", *arguments], folder)


def passed(output: str) -> int:
    """How many tests a run of pytest passed; none failed, and none was skipped."""
    found = re.search(r"(\d+) passed", output)
    assert found is not None, output
    assert not re.search(r"failed|error|skipped", output.splitlines()[-1]), output
    return int(found[1])


def this_library(folder: Path) -> Path:
    """A copy of what goes into the wheel: building it in place would leave a folder behind, or find an old one."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=LEFT_BEHIND)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Everything built, and installed by one call of pip."""
    folder = tmp_path_factory.mktemp("third-party")
    sources, wheels, elsewhere = folder / "sources", folder / "wheels", folder / "elsewhere"
    for path in (sources, elsewhere):
        path.mkdir()
    projects = {name: sources / name for name in PROJECTS}
    for name, example in (("foof", "third_party_approximation"), ("strict", "third_party_backend")):
        shutil.copytree(EXAMPLES / example, projects[name], ignore=LEFT_BEHIND)
    for kind in ("approximation", "backend"):
        command = ["-c", "from curvature.cli import main; main()", "new", kind, f"new-{kind}", "--into", str(sources)]
        ran([sys.executable, *command], elsewhere)
    library = this_library(folder / "library")

    here = Path(sys.executable)
    pip(here, elsewhere, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(library), *map(str, projects.values()))
    ran([sys.executable, "-m", "venv", str(folder / "venv")], elsewhere)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / here.name
    (own,) = wheels.glob("curvature-*.whl")
    built = [f"{wheel}[test]" for wheel in sorted(wheels.glob("*.whl")) if wheel != own]
    assert len(built) == len(projects)
    # This library first: pip would look for what the others need before it comes to it.
    pip(python, elsewhere, "install", "-c", str(ROOT / "constraints.txt"), f"{own}[conformance]", *built)
    return Installed(python, elsewhere, projects)


def test_everything_comes_from_the_wheels(installed: Installed) -> None:
    modules = ("curvature", "curvature_numpy", "curvature_kronecker", "curvature_conformance", "foof", "strict", "new_backend")
    code = f"import importlib; [print(importlib.import_module(m).__file__) for m in {modules!r}]"
    files = installed.run("python", "-c", code).splitlines()
    venv = installed.python.parent.parent
    assert len(files) == len(modules)
    assert [file for file in files if not Path(file).is_relative_to(venv)] == []


def test_no_other_array_library_is_needed(installed: Installed) -> None:
    names = pip(installed.python, installed.elsewhere, "list", "--format=freeze").lower().replace("_", "-")
    assert "array-api-strict==" in names
    assert not re.search(r"^(torch|jax|cupy|scipy|scikit-learn|matplotlib)\b", names, flags=re.MULTILINE)


def test_they_are_listed(installed: Installed) -> None:
    record = json.loads(installed.run("curvature", "list", "--json"))
    assert record["plugins_left_out"] == []
    found = {info["name"]: (info["status"], info["distribution"]) for info in record["backends"] + record["approximations"]}
    for name in PROJECTS:
        assert found[name] == ("usable", name)
    assert found["numpy"] == ("usable", "curvature")
    assert found["torch"][0] == "not installed"
    assert "foof" in installed.run("curvature", "list")


@pytest.mark.parametrize("name", ["foof", "strict"])
def test_the_command_finds_that_they_conform(installed: Installed, name: str) -> None:
    said = installed.run("curvature", "conform", name, without=WITHOUT.get(name, ""))
    found = re.search(r"conforms: (\d+) of (\d+) checks in order", said)
    assert found is not None, said
    assert found[1] == found[2]
    assert int(found[1]) > 300


@pytest.mark.parametrize("name", PROJECTS)
def test_plain_pytest_in_a_project_runs_its_tests_and_the_suite(installed: Installed, name: str) -> None:
    """The whole suite for the new projects; for the examples, on which the command has run it, a part."""
    folder = installed.projects[name]
    own = len(re.findall(r"^def test_", next((folder / "tests").glob("*.py")).read_text(encoding="utf-8"), flags=re.MULTILINE))
    part = () if name.startswith("new") else ("-k", f"test_{name} or algebra")
    said = installed.run("pytest", "-q", *part, folder=folder, without=WITHOUT.get(name, ""))
    assert own >= 3
    assert passed(said) >= own + (5 if part else 300)


def test_the_suite_of_numpy_runs_from_anywhere(installed: Installed) -> None:
    suite = ("-p", "curvature_conformance.plugin", "--pyargs", "curvature_conformance.suite")
    said = installed.run("pytest", "-q", *suite, "--curvature-backend", "numpy", "-k", "linear-algebra")
    assert passed(said) >= 5


def test_the_function_says_that_there_are_no_issues(installed: Installed) -> None:
    installed.run("python", "-c", "from curvature_conformance import issues; assert issues('diagonal') == []")


def test_a_new_project_can_be_made_from_the_wheel(installed: Installed) -> None:
    """The templates are in it; and a name, or arrays, that another package has are not given twice."""
    said = installed.run("curvature", "new", "approximation", "another", "--into", str(installed.elsewhere))
    assert "pip install" in said
    assert (installed.elsewhere / "another" / ".gitignore").is_file()
    for arguments, words in (
        (["approximation", "foof"], "'foof' is taken: an approximation of foof 0.1.0"),
        (["backend", "fresh"], "belong to the backend 'strict' of strict 0.1.0"),
    ):
        with pytest.raises(AssertionError, match=words):
            installed.run("curvature", "new", *arguments, without="new-backend")


def test_two_backends_of_one_library_are_told_apart_by_name(installed: Installed) -> None:
    code = "import curvature as cv; cv.backend_of(cv.backend('strict').asarray([1.0]))"
    with pytest.raises(AssertionError, match=r"claimed by backend 'new-backend' of .* and backend 'strict' of"):
        installed.run("python", "-c", code)
