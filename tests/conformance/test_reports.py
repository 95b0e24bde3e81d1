"""Reports that are kept hold all that makes them worth keeping, and a report that does not is found out."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import array_api_strict
import pytest

import curvature as cv
from curvature_conformance import Selection, run
from curvature_conformance.reports import provenance
from curvature_conformance.reports.format import defects, file_stem

FOLDER = Path(__file__).resolve().parents[2] / "conformance" / "reports"
KEPT = sorted(FOLDER.glob("*.json"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_report_is_complete_and_named_for_what_it_holds(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    assert defects(record) == []
    assert path.stem == file_stem(record)
    assert not record["interrupted"]


def test_there_is_a_report_of_every_array_library_that_runs_on_a_cpu() -> None:
    assert {"numpy-cpu", "torch-cpu"} <= {path.stem for path in KEPT}


def test_nothing_else_lies_among_the_reports() -> None:
    assert {path.suffix for path in FOLDER.iterdir()} == {".json", ".md"}


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    """A report that is as it should be."""
    found = replace(run("numpy", only_checks="[ar]*/*"), commit=COMMIT, selection=Selection()).to_dict()
    assert found["counts"]["passed"] == len(found["outcomes"]) > 5
    assert defects(found) == []
    return found


KEYS = (
    "format", "conforms", "interrupted", "summary", "kind", "subject", "backend", "framework", "device", "device_name", "dtype",
    "date", "commit", "versions", "environment", "platform", "selection", "elapsed", "counts", "failing", "outcomes",
)  # fmt: skip


MAY_BE_EMPTY = ("environment", "failing", "format", "conforms", "interrupted", "elapsed")


def test_the_keys_are_those_that_are_promised(record: dict[str, Any]) -> None:
    assert set(record) == set(KEYS)
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [key for key in KEYS if f"`{key}`" not in page] == []


@pytest.mark.parametrize("key", KEYS)
def test_a_report_without_a_key_is_found_out(record: dict[str, Any], key: str) -> None:
    assert defects({name: value for name, value in record.items() if name != key}) == [f"{key!r} is missing"]


@pytest.mark.parametrize("key", [key for key in KEYS if key not in MAY_BE_EMPTY])
def test_an_empty_value_is_found_out(record: dict[str, Any], key: str) -> None:
    assert defects(record | {key: type(record[key])()}) == [f"{key!r} is empty"]


def without_version(record: dict[str, Any]) -> None:
    del record["versions"]["array-api-compat"]


def without_framework(record: dict[str, Any]) -> None:
    record["framework"] = "torch"


def failure_left_out(record: dict[str, Any]) -> None:
    record["outcomes"][3]["status"] = "failed"


def count_embellished(record: dict[str, Any]) -> None:
    record["counts"]["passed"] += 1


def set_to(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.update({key: value})


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (without_version, "array-api-compat"),
        (without_framework, "that of torch"),
        (failure_left_out, "'failing' is []"),
        (count_embellished, "'counts' is"),
        (set_to("failing", ["products/nothing"]), "'failing' is ['products/nothing']"),
        (set_to("conforms", False), "'conforms' is False"),
        (set_to("interrupted", True), "interrupted: True"),
        (set_to("commit", "main"), "'commit' is 'main'"),
        (set_to("date", "yesterday"), "'date' is 'yesterday'"),
        (set_to("date", "2026-01-01T00:00:00"), "offset from UTC"),
        (set_to("dtype", "float16"), "float16"),
        (set_to("kind", "optimizer"), "optimizer"),
        (set_to("format", 1), "'format' is 1"),
        (set_to("selection", Selection("arrays/*").to_dict()), "of the whole suite"),
        (set_to("selection", Selection(tolerances={"arrays/*": 10.0}).to_dict()), "at its own tolerances"),
        (set_to("conforms", 1), "not of type bool"),
        (set_to("remark", "looks good"), "'remark' is no key"),
        (lambda record: record["outcomes"][0].pop("seconds"), "an outcome must have the keys"),
        (lambda record: record["outcomes"][0].update(status="skipped"), "'skipped'"),
    ],
)
def test_a_planted_defect_is_found_out(record: dict[str, Any], plant: Callable[[dict[str, Any]], Any], words: str) -> None:
    planted = copy.deepcopy(record)
    plant(planted)
    assert any(words in message for message in defects(planted)), defects(planted)


def test_failing_checks_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv, "Fisher", cv.EmpiricalFisher)
    report = run("diagonal", only_checks="theorems/the-nearest*", only_scenarios="linear*")
    found = replace(report, commit=COMMIT, selection=Selection()).to_dict()
    assert defects(found) == []
    assert not found["conforms"]
    assert "theorems/the-nearest-diagonal-matrix" in {name.partition("[")[0] for name in found["failing"]}
    assert found["counts"]["failed"] == len(found["failing"])


@pytest.mark.parametrize(
    ("device", "kind"),
    [("cuda:0", "cuda"), ("<CUDA Device 1>", "cuda"), ("gpu:0", "cuda"), ("cpu", "cpu"), ("TFRT_CPU_0", "cpu"), ("mps:0", "mps")],
)
def test_the_kind_of_a_device(device: str, kind: str) -> None:
    assert provenance.device_kind(device) == kind


def test_a_report_says_where_it_was_made() -> None:
    """The hardware, the library under the backend, and the commit of this very tree."""
    strict = run(cv.ArrayBackend("strict", array_api_strict), only_checks="arrays/double-*")
    assert strict.framework == "array_api_strict"
    assert strict.versions["array_api_strict"] == array_api_strict.__version__
    assert strict.device_name not in ("", "unknown")
    root = Path(cv.__file__).resolve().parents[1]
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert strict.commit.removesuffix("-dirty") == head.stdout.strip()


def test_full_precision_is_asked_for_before_a_framework_is_loaded(tmp_path: Path) -> None:
    """The command sets the environment first; what the user has set stays."""
    code = (
        "import os, sys\n"
        "from curvature_conformance.reports import provenance\n"
        "assert not {'torch', 'jax', 'cupy'} & set(sys.modules)\n"
        "provenance.ask_for_full_precision()\n"
        "print(provenance.environment())"
    )
    clean = {name: value for name, value in os.environ.items() if name not in provenance.FULL_PRECISION}
    clean["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    given = clean | {"NVIDIA_TF32_OVERRIDE": "1"}
    for environment, expected in (
        (clean, provenance.FULL_PRECISION),
        (given, provenance.FULL_PRECISION | {"NVIDIA_TF32_OVERRIDE": "1"}),
    ):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(expected)


def test_the_page_shows_every_check_and_each_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cv, "Fisher", cv.EmpiricalFisher)
    report = run("diagonal", only_checks="theorems/*", only_scenarios="*-regression/plain")
    path = tmp_path / "report.html"
    report.write(path)
    page = path.read_text(encoding="utf-8")
    counts = report.counts
    assert counts["failed"] > 0
    assert page.count('class="cell failed"') == counts["failed"]
    assert page.count('class="cell passed"') == counts["passed"]
    for outcome in report.failures:
        anchor = outcome.name.replace("/", "-")
        assert f'id="{anchor}"' in page
        assert f'href="#{anchor}"' in page
    assert "does not conform" in page
    assert "checks &#x27;theorems/*&#x27;" in page  # what was left out is said
    assert "src=" not in page
    assert "http" not in page


def test_a_looser_tolerance_is_said_and_does_what_it_says() -> None:
    plain = run("kfac", only_checks="inverses/powers", only_scenarios="one-datum/tanh", tolerances={"inverses/*": 1e-9})
    assert not plain.conforms
    assert "1e-09 times the tolerance of 'inverses/*'" in plain.summary
    assert run("kfac", only_checks="inverses/powers", only_scenarios="one-datum/tanh", tolerances={"inverses/*": 10}).conforms
    with pytest.raises(ValueError, match="multiple > 0"):
        Selection(tolerances={"*": 0.0})
    with pytest.raises(ValueError, match="no check of this subject is called 'invrses/\\*'; did you mean"):
        run("kfac", tolerances={"invrses/*": 10.0})
