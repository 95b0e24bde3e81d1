"""Statistics as what is kept between runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import curvature as cv

from ..cases.on_scenario import Case
from ..checklist import CONTRACT, check
from ..failures import expect


@check("approximation", "method", applies=lambda case: case.scenario.is_plain, source=CONTRACT)
def a_file_keeps_its_statistics(case: Case) -> None:
    """Statistics written by curvature.save and read by curvature.load build the same operator, to the last bit."""
    method, matrix = case.setting.approximation, case.matrix("fisher")
    assert method is not None
    statistics = cv.estimate(matrix, method, case.problem.backend)
    structure = case.problem.structure.of(matrix)
    expected = case.dense(cv.build(method, statistics, structure))
    if _hold_matrices(statistics):
        return  # a method that keeps the matrix itself keeps its problem: there is nothing to write
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statistics.safetensors"
        cv.save(statistics, path)
        back = cv.load(path, case.setting.backend)
    found = case.dense(cv.build(method, back, structure))
    expect(
        np.array_equal(found, expected),
        "build(method, load(save(statistics)), structure).to_dense()",
        "other numbers",
        formula="those of the statistics that were saved, to the last bit",
        causes="state that is kept in the method or in a closure instead of in the statistics",
    )


def _hold_matrices(statistics: object) -> bool:
    parts = statistics.values() if isinstance(statistics, dict) else [statistics]
    return any(isinstance(part, cv.Operator) and part.matrix_free for part in parts)
