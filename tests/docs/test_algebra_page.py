"""The page on the algebra is what its generator writes, and leaves out no operator."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import curvature as cv
from curvature import operators

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("algebra_table", ROOT / "docs" / "algebra_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_the_one_that_is_generated(generator: ModuleType) -> None:
    page = (ROOT / "docs" / "algebra.md").read_text(encoding="utf-8")
    assert generator.page() == page, "out of date; run: python docs/algebra_table.py > docs/algebra.md"


def test_every_operator_is_on_it(generator: ModuleType) -> None:
    exported = {thing for thing in vars(operators).values() if inspect.isclass(thing) and issubclass(thing, cv.Operator)}
    structures = {kind.structure for kind in exported if not inspect.isabstract(kind)}
    assert structures == set(generator.STRUCTURES)


def test_what_is_exact_is_told_from_what_is_not(generator: ModuleType) -> None:
    assert generator.cell("kronecker", "solve, damped").startswith("**")
    assert generator.cell("kronecker-sum", "solve, damped") == "conjugate gradients"
    assert generator.cell("matrix-free", "logdet, damped") == "≈ quadrature"
    assert generator.cell("low-rank", "solve") == "singular"
