"""``curvature new``: what it refuses, what it writes, and that what it writes is found and conforms."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import curvature as cv
from curvature.cli.app import app
from curvature_conformance import all_checks

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
KINDS = ("approximation", "backend")


def new(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["new", *arguments])


def written(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


# What it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "lower-case letters, digits and single dashes"),
        ("My-Method", "lower-case letters, digits and single dashes"),
        ("2fast", "a letter first"),
        ("my--method", "single dashes"),
        ("../elsewhere", "cannot name a distribution"),
        ("lambda", "no word that Python or a file system keeps"),
        ("none", "no word that Python or a file system keeps"),
        ("my-class", "no word that Python or a file system keeps"),
        ("build", "no word that Python or a file system keeps"),
        ("con", "no word that Python or a file system keeps"),
        ("kfac", "an approximation of curvature 0.1.0 is called 'kfac'"),
        ("block_diagonal", "an approximation of curvature 0.1.0 is called 'block-diagonal'"),
        ("torch", "a backend of curvature 0.1.0 is called 'torch'"),
        ("json", "a module of that name is installed"),
        ("array-api-strict", "the module 'array_api_strict'"),
    ],
)
def test_names_that_cannot_be(kind: str, name: str, words: str, tmp_path: Path) -> None:
    result = new(kind, "--into", str(tmp_path), "--", name)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("namespace", "words"),
    [
        ("no namespace", "takes the name of a module"),
        ("not_there.class", "takes the name of a module"),
        ("json", "it has no asarray, matmul"),
        ("array_api_strict.nothing", "No module named 'array_api_strict.nothing'"),
        ("numpy", "belong to the backend 'numpy' of curvature 0.1.0"),
        ("array_api_compat.torch", "belong to the backend 'torch' of curvature 0.1.0"),
    ],
)
def test_namespaces_that_cannot_be(namespace: str, words: str, tmp_path: Path) -> None:
    result = new("backend", "mine", "--into", str(tmp_path), "--namespace", namespace)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_in_use(kind: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    (tmp_path / "other").write_text("a file")
    for name, into in (("mine", tmp_path), ("other", tmp_path)):
        result = new(kind, name, "--into", str(into))
        assert result.exit_code == 2
        assert "exists and is not an empty folder" in result.stderr
    for into in ("nowhere", "other"):
        result = new(kind, "good", "--into", str(tmp_path / into))
        assert result.exit_code == 2
        assert "--into names a folder" in result.stderr
    assert written(tmp_path) == {"mine/thesis.tex", "other"}


def test_a_disk_that_is_full_leaves_nothing_behind(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_text

    def full(self: Path, *arguments: str, **options: str) -> int:
        if self.parent.name == "tests":
            raise OSError(28, "No space left on device")
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    result = new(kind, "mine", "--into", str(tmp_path))
    assert result.exit_code == 2
    assert "nothing was: OSError: [Errno 28] No space left on device" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_permission(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*arguments: object, **options: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", denied)  # root may write anywhere, so the mode of a folder would not do
    result = new(kind, "mine", "--into", str(tmp_path))
    assert result.exit_code == 2
    assert "Permission denied" in result.stderr


# What it writes ---------------------------------------------------------------------------------------------------


def test_a_project_is_written(kind: str, tmp_path: Path) -> None:
    (tmp_path / "my-own").mkdir()  # an empty folder is as good as none
    result = new(kind, "my-own", "--into", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f'cd {tmp_path / "my-own"} && pip install -e ".[test]"',
        "pytest  # your tests, and the conformance suite",
        "curvature conform my-own  # the suite alone, as a table" + ("; also with --backend torch" if kind == KINDS[0] else ""),
    ]
    assert [entry.name for entry in tmp_path.iterdir()] == ["my-own"]
    assert (tmp_path / "my-own").stat().st_mode & 0o777 == (tmp_path / "my-own" / "src").stat().st_mode & 0o777
    files = {file: (tmp_path / "my-own" / file).read_text(encoding="utf-8") for file in written(tmp_path / "my-own")}
    heart = "method" if kind == "approximation" else "backend"
    sources = {"src/my_own/__init__.py", f"src/my_own/{heart}.py", "tests/test_my_own.py"}
    assert set(files) == {"pyproject.toml", "README.md", ".gitignore", *sources}
    assert not [file for file, text in files.items() if "$" in text]
    for file in sources:
        compile(files[file], file, "exec")
        assert max(map(len, files[file].splitlines())) <= 130
    assert "class MyOwn(" in files[f"src/my_own/{heart}.py"]
    project = tomllib.loads(files["pyproject.toml"])
    assert project["project"]["entry-points"] == {"curvature": {"my-own": "my_own"}}
    assert project["project"]["dependencies"][0] == f"curvature>={cv.__version__}"
    assert project["project"]["dependencies"][1:] == ([] if kind == "approximation" else ["array-api-strict"])
    assert 'pip install -e ".[test]"' in files["README.md"]
    assert set(project["project"]["optional-dependencies"]) == {"test"}


def test_the_checks_that_a_project_names_exist(kind: str, tmp_path: Path) -> None:
    """Its README explains a failure by one, and a comment shows how a gap is declared."""
    new(kind, "mine", "--into", str(tmp_path))
    text = "".join((tmp_path / "mine" / file).read_text(encoding="utf-8") for file in written(tmp_path / "mine"))
    named = {"approximation": "scaling/a-sum-is-n-times-a-mean", "backend": "derivatives/hessian-vector-product"}
    others = {"approximation": "theorems/", "backend": "linear-algebra/triangular-solves"}
    for name in (named[kind], others[kind]):
        assert name in text
        assert any(check.name.startswith(name) for check in all_checks())


@pytest.mark.parametrize(("kind", "name"), [("approximation", "foof"), ("backend", "strict")])
def test_the_examples_have_the_same_shape(kind: str, name: str, tmp_path: Path) -> None:
    assert new(kind, name, "--into", str(tmp_path)).exit_code == 0
    example = EXAMPLES / f"third_party_{kind}"
    assert [file for file in written(tmp_path / name) if not (example / file).exists()] == []
    ours, theirs = (tomllib.loads((folder / "pyproject.toml").read_text()) for folder in (tmp_path / name, example))
    for project in (ours, theirs):
        assert project["project"].pop("description")
    assert theirs == ours


def test_a_namespace_that_is_not_installed_is_written_and_said(tmp_path: Path) -> None:
    result = new("backend", "mine", "--into", str(tmp_path), "--namespace", "moon_arrays.api")
    assert result.exit_code == 0
    assert "moon_arrays is not installed here" in result.stderr
    project = tomllib.loads((tmp_path / "mine" / "pyproject.toml").read_text())["project"]
    assert project["dependencies"][1:] == ["moon-arrays"]
    assert "import moon_arrays.api as xp" in (tmp_path / "mine" / "src" / "mine" / "backend.py").read_text()


def test_arrays_may_be_those_of_another_module_than_the_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "moon_compat.py").write_text("from array_api_strict import *\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert new("backend", "mine", "--into", str(tmp_path), "--namespace", "moon_compat").exit_code == 0
    spec = (tmp_path / "mine" / "src" / "mine" / "__init__.py").read_text()
    assert '== "array_api_strict"' in spec
    assert 'requires=("array_api_strict",)' in spec
    assert "import moon_compat as xp" in (tmp_path / "mine" / "src" / "mine" / "backend.py").read_text()


# What it writes works -----------------------------------------------------------------------------------------------


@pytest.fixture
def installed(kind: str, tmp_path: Path) -> dict[str, str]:
    """The environment in which a new project called my-own is installed, without pip: its metadata lie on the path."""
    assert new(kind, "my-own", "--into", str(tmp_path)).exit_code == 0
    metadata = tmp_path / "site" / "my_own-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-own\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text("[curvature]\nmy-own = my_own\n")
    path = [str(tmp_path / "site"), str(tmp_path / "my-own" / "src"), *(folder for folder in sys.path if folder)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path), "CURVATURE_STRICT_PLUGINS": "1"}


def ran(arguments: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_project_is_listed(kind: str, installed: dict[str, str], tmp_path: Path) -> None:
    record = json.loads(ran(["-c", "from curvature.cli import main; main()", "list", "--json"], tmp_path, installed))
    found = {info["name"]: info for info in record[f"{kind}s"]}["my-own"]
    assert (found["status"], found["distribution"]) == ("usable", "my-own")


def test_plain_pytest_runs_its_tests_and_the_suite(kind: str, installed: dict[str, str], tmp_path: Path) -> None:
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "my_own or algebra"]
    said = ran(command, tmp_path / "my-own", installed)
    passed = int(said.split(" passed")[0].split()[-1])
    assert passed > 4 + 3  # its own, and some of the suite
    assert "failed" not in said
