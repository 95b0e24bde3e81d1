"""The examples run, and give what theory says."""

from __future__ import annotations

import ast
import importlib
import inspect
import runpy
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import array_api_strict
import numpy as np
import pytest

import curvature as cv
from curvature_conformance import issues, run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
README = EXAMPLES.parent / "README.md"


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


def test_torch_training_loop(capsys):
    example = runpy.run_path(str(EXAMPLES / "torch_training_loop.py"))
    losses = example["main"]()
    assert losses["natural gradient"] < 0.1 < losses["SGD"]
    before, after = (inspect.getsource(example[name]).splitlines() for name in ("train_before", "train_after"))
    changed = [(a, b) for a, b in zip(before[1:], after[1:], strict=True) if a != b]
    assert len(changed) == 2
    assert "natural gradient  loss" in capsys.readouterr().out


def test_optax_training_loop(capsys):
    """Two lines change, and the loss after as many steps is lower."""
    example = runpy.run_path(str(EXAMPLES / "optax_training_loop.py"))
    adam, natural = (inspect.getsource(example[f"with_{name}"]).splitlines()[1:] for name in ("adam", "natural_gradient"))
    changed = [(before.strip(), after.strip()) for before, after in zip(adam, natural, strict=True) if before != after]
    assert changed == [
        ("optimizer = optax.adam(1e-2)", "optimizer = curvature_jax.natural_gradient(apply, cv.Categorical())"),
        (
            "updates, state = optimizer.update(grads, state, params)",
            "updates, state = optimizer.update(grads, state, params, data=(x, y))",
        ),
    ]
    reached = example["main"](60)
    assert reached["natural gradient"] < 0.1 * reached["Adam"]
    assert "natural gradient  loss" in capsys.readouterr().out


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Make the package of an example importable, and register it by hand: nothing is installed."""
    registered = []

    def install(example: str, package: str) -> None:
        monkeypatch.syspath_prepend(EXAMPLES / example / "src")
        registered.append(cv.register(importlib.import_module(package)))

    yield install
    for name in registered:
        cv.unregister(name)
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            del sys.modules[module]


def _lines(file: Path) -> list[str]:
    """What its author writes: no docstrings, no comments, no blanks."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", [])
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            del body[0]
    return [line for line in ast.unparse(tree).splitlines() if line]


def test_third_party_backend_has_as_many_lines_as_the_readme_says():
    files = sorted((EXAMPLES / "third_party_backend" / "src").rglob("*.py"))
    count = len([line for file in files for line in _lines(file)])
    assert f"[an example](examples/third_party_backend) in {count} lines" in README.read_text(encoding="utf-8")


def test_third_party_backend_agrees_with_numpy(install):
    before = {info.name for info in cv.backends()}
    install("third_party_backend", "strict")
    assert {info.name for info in cv.backends() if info.status == "usable"} - before == {"strict"}
    array = cv.backend("strict").asarray([1.0])
    assert cv.backend_of(array).name == "strict"
    assert isinstance(array, type(array_api_strict.zeros(1)))
    analyse = runpy.run_path(str(EXAMPLES / "third_party_backend" / "compare_with_numpy.py"))["analyse"]
    found, ours = analyse("strict"), analyse("numpy")
    assert found.keys() == ours.keys() == {"fisher", "kfac", "step"}
    for key, values in ours.items():
        assert np.linalg.norm(values) > 0.1
        np.testing.assert_allclose(found[key], values, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_third_party_backend_conforms(install):
    install("third_party_backend", "strict")
    assert issues("strict") == []


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_third_party_approximation_conforms(install, backend):
    install("third_party_approximation", "foof")
    report = run("foof", backend=backend)
    assert report.issues == []
    proven = {o.scenario for o in report.outcomes if o.check == "theorems/exact-where-theory-says-so"}
    assert {"foof/linear-regression", "linear-regression/known-variance", "linear-regression/rank-deficient"} <= proven
    assert all("linear-regression" in scenario for scenario in proven)
    assert not any(o.scenario.startswith("foof/") for o in run("kfac", only_checks="theorems/exact-*").outcomes)


def test_third_party_projects_name_what_they_register():
    for example, entry in (("third_party_backend", "strict"), ("third_party_approximation", "foof")):
        project = tomllib.loads((EXAMPLES / example / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert project["name"] == entry
        assert project["entry-points"]["curvature"] == {entry: entry}


def test_every_example_has_a_test():
    tested = Path(__file__).read_text(encoding="utf-8")
    names = [path.name for path in EXAMPLES.glob("*.py")] + [path.parent.name for path in EXAMPLES.glob("*/pyproject.toml")]
    assert len(names) >= 3
    assert [name for name in names if name not in tested] == []
