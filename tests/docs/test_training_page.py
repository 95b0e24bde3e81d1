"""The page on training runs as written, and what it promises holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def test_the_code_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        if "import curvature as cv" in block:  # otherwise it goes on from the one before
            names = {}
        exec(compile(block, "docs/training.md", "exec"), names)
        if "volume" in names:
            assert float(names["params"]["b1"]) == pytest.approx(337.99746163, rel=1e-9)
            assert float(names["params"]["b2"]) == pytest.approx(3.9039091287e-4, rel=1e-9)
        if "record" in names:
            assert names["record"].complete
            assert (tmp_path / "run.safetensors").exists()
        if "opt" in names and "Cooling" in names:
            assert names["opt"].options.damping.initial == 1.0


def test_every_rule_is_named():
    import curvature as cv

    others = ("Constant", "Every", "Fixed", "Loss", "Along", "Local", "Plan", "State", "StepInfo", "choose", "Adam")
    missing = [name for name in cv.optim.__all__ if name not in PAGE and name not in (*others, "GradientDescent")]
    assert missing == []


@pytest.mark.parametrize("name", re.findall(r"<!-- (training-[a-z0-9-]+): begin -->", PAGE))
def test_the_tables_are_those_that_the_benchmarks_wrote(name):
    results = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
    measured = (results / f"{name}.md").read_text(encoding="utf-8").strip()
    shown = re.search(rf"<!-- {name}: begin -->\n(.*?)\n<!-- {name}: end -->", PAGE, re.DOTALL)
    assert shown is not None
    assert shown[1].strip().replace("### ", "## ", 1) == measured
