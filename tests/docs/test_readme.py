"""The README's figures are the ones measured, and its code runs as written."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_is_the_one_that_the_benchmark_wrote():
    name = "operations-mlp-torch-cpu"
    measured = (ROOT / "benchmarks" / "results" / f"{name}.md").read_text(encoding="utf-8").strip()
    shown = re.search(rf"<!-- {name}: begin -->\n(.*?)\n<!-- {name}: end -->", README, re.DOTALL)
    assert shown is not None
    assert shown[1].strip() == measured


def test_the_code_runs_as_written():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        if "import curvature" in block:  # otherwise it goes on from the one before
            names = {}
        exec(compile(block, "README.md", "exec"), names)
        problem = names["problem"]
        assert problem.uses().general == {}
        if "info" in names:  # the training loop at its end has lowered the loss
            assert names["info"].loss < 0.9 * float(problem.loss())
