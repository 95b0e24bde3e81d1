"""The examples run, and give what theory says."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np

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


def test_every_example_has_a_test():
    tested = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if path.name not in tested] == []
