"""The examples run, and give what theory says."""

from __future__ import annotations

import ast
import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path

import array_api_strict
import numpy as np
import pytest

import curvature as cv

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_poisson_regression(capsys):
    estimates, errors = runpy.run_path(str(EXAMPLES / "poisson_regression.py"))["main"]()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 2))
    y = rng.poisson(np.exp(0.5 + x @ np.array([0.8, -0.4])))
    design = np.concatenate([np.ones((500, 1)), x], axis=1)
    mean = np.exp(design @ estimates)
    # At the maximum the score vanishes; the information is Xᵀ diag(μ) X (MATH §1.1).
    np.testing.assert_allclose(design.T @ (y - mean), 0, atol=1e-8)
    np.testing.assert_allclose(errors, np.sqrt(np.diag(np.linalg.inv(design.T @ (mean[:, None] * design)))), rtol=1e-10)
    assert "slope 2" in capsys.readouterr().out


def _lines_of_the_backend(source: str) -> list[str]:
    """What its author writes: the lines between the marks and the imports of what they name; no comments, no blanks."""
    before, _, rest = source.partition("# The backend: begin\n")
    part, mark, _ = rest.partition("# The backend: end\n")
    assert mark
    named = {node.id for node in ast.walk(ast.parse(part)) if isinstance(node, ast.Name)}
    imports = [node for node in ast.parse(before).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    used = [ast.unparse(node) for node in imports if named & {alias.asname or alias.name for alias in node.names}]
    return used + [line for line in part.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_a_third_party_backend_is_under_15_lines():
    lines = _lines_of_the_backend((EXAMPLES / "third_party_backend.py").read_text(encoding="utf-8"))
    assert "import array_api_strict" in lines
    assert "import curvature as cv" in lines
    assert len(lines) < 15


def test_third_party_backend_agrees_with_numpy(monkeypatch):
    path, name = EXAMPLES / "third_party_backend.py", "third_party_backend"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    before = {info.name for info in cv.backends()}
    spec.loader.exec_module(module)
    try:
        assert {info.name for info in cv.backends() if info.status == "usable"} - before == {"strict"}
        array = cv.backend("strict").asarray([1.0])
        assert cv.backend_of(array).name == "strict"
        assert isinstance(array, type(array_api_strict.zeros(1)))
        found, ours = module.analyse("strict"), module.analyse("numpy")
    finally:
        cv.unregister(name)
    assert found.keys() == ours.keys() == {"fisher", "kfac", "step"}
    for key, values in ours.items():
        assert np.linalg.norm(values) > 0.1
        np.testing.assert_allclose(found[key], values, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_third_party_backend_runs_as_a_script_and_conforms():
    script = [sys.executable, str(EXAMPLES / "third_party_backend.py")]
    done = subprocess.run(script, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert "conformance: 0 issues" in done.stdout


def test_every_example_has_a_test():
    tested = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if path.name not in tested] == []
