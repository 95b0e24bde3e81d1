"""The support page is what its generator writes from the claims and the reports."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

import curvature as cv
from curvature.backend import CAPABILITIES
from curvature_conformance.reports import support

ROOT = Path(__file__).resolve().parents[2]
REPORTS = ROOT / "conformance" / "reports"
PAGE = (ROOT / "docs" / "support.md").read_text(encoding="utf-8")
REMEDY = "python -m curvature_conformance.reports.support conformance/reports > docs/support.md"


def test_the_page_is_the_one_that_is_generated() -> None:
    assert support.page(support.claims(), support.read(REPORTS)) == PAGE, f"out of date; run: {REMEDY}"


def test_the_command_on_the_page_writes_it() -> None:
    assert REMEDY in PAGE
    command = REMEDY.partition(" > ")[0].split()[1:]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == PAGE


def test_every_backend_and_every_capability_is_on_it() -> None:
    ours = [info.name for info in cv.backends() if info.distribution == "curvature"]
    assert {"numpy", "torch", "cupy"} <= set(ours)
    assert f"| capability | meaning | {' | '.join(ours)} |" in PAGE
    for capability in CAPABILITIES:
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{capability}` |")]
        assert row.count("|") == len(ours) + 3


@pytest.mark.parametrize("path", sorted(REPORTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_report_is_on_it(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| [{path.stem}](")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    good = sum(outcome["status"] in ("passed", "declared") for outcome in record["outcomes"])
    assert cells[1:4] == [record["device_name"], record["dtype"], f"{good} of {len(record['outcomes'])}"]
    assert cells[5] == str(len(record["failing"]))
    for name, version in record["versions"].items():
        assert f"{name} {version}" in cells[6]
    assert all(f"`{name}`" in PAGE for name in record["failing"])


def test_backends_without_a_report_are_named() -> None:
    shown = {json.loads(path.read_text(encoding="utf-8"))["subject"] for path in REPORTS.glob("*.json")}
    for name in support.claims():
        assert (f"There is no report of `{name}`" in PAGE) == (name not in shown)


def test_a_refusal_is_shown_with_its_reason_and_a_failure_by_name() -> None:
    known = support.read(REPORTS)
    record = copy.deepcopy(known["numpy-cpu"]) | {"failing": ["products/of-a-tree[mlp]"]}
    missing = {"numpy": {"jit": cv.Claim(cv.Support.UPSTREAM, "waits for their issue 1")}}
    page = support.page(missing, {"numpy-cpu": record})
    (row,) = [line for line in page.splitlines() if line.startswith("| `jit` |")]
    assert "| upstream (1) |" in row
    assert "1. waits for their issue 1" in page
    assert "1 failed: `products/of-a-tree[mlp]`" in page
    assert "| `vjp` | Jᵀu, gradients | no claim |" in page


def test_a_report_that_is_not_as_it_should_be_is_refused(tmp_path: Path) -> None:
    record = json.loads((REPORTS / "numpy-cpu.json").read_text(encoding="utf-8"))
    del record["commit"]
    (tmp_path / "numpy-cpu.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ValueError, match=r"numpy-cpu.json .*'commit' is missing"):
        support.read(tmp_path)
