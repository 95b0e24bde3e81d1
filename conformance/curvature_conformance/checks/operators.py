"""An operator as an object: every operation is there, and it survives a file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import curvature as cv

from ..cases.base import OperatorCaseBase
from ..checklist import CONTRACT, check
from ..failures import expect
from .forms import ANY

_METHODS = {
    "@": "__matmul__",
    "+": "__add__",
    "number *": "__rmul__",
    "T": "T",
    **{
        name: name
        for name in (
            "solve",
            "inverse",
            "power",
            "logdet",
            "trace",
            "diagonal",
            "norm",
            "eigh",
            "sample",
            "block",
            "to_dense",
            "to",
            "shape",
            "dtype",
            "structure",
            "scaled",
        )
    },
}


@check("operator", "operator", source=CONTRACT)
def every_operation_is_there(case: OperatorCaseBase) -> None:
    """An operator has the shape, dtype and backend of what it was made of, and every operation."""
    operator = case.operator()
    expect(isinstance(operator, cv.Operator), "what approximate() returned", repr(type(operator)), formula="a curvature.Operator")
    absent = [label for label, name in _METHODS.items() if not hasattr(operator, name)]
    expect(not absent, "operations", f"without {absent}", formula="all of them: the algebra is closed")
    columns = operator.shape[1]
    expect(columns == case.size, "shape", str(operator.shape), formula=f"{case.size} columns, one for each parameter")
    backend = case.setting.backend.name
    wanted = getattr(case.setting.xp, case.setting.dtype)
    expect(
        operator.dtype == wanted,
        "dtype",
        str(operator.dtype),
        formula=case.setting.dtype,
        causes="statistics stored in another precision",
    )
    expect(operator.backend.name == backend, "backend", operator.backend.name, formula=backend)
    expect(
        isinstance(operator.structure, str) and bool(operator.structure),
        "structure",
        repr(operator.structure),
        formula="its name",
    )


@check("operator", "operator", applies=ANY, source=CONTRACT)
def a_file_keeps_it(case: OperatorCaseBase) -> None:
    """curvature.save and curvature.load give the same operator, to the last bit; a matrix-free one is refused by name."""
    operator = case.operator()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "operator.safetensors"
        try:
            cv.save(operator, path)
        except cv.UnsupportedError as error:
            expect(
                operator.matrix_free,
                f"save({type(operator).__name__})",
                f"UnsupportedError: {error}",
                formula="a file, which every backend reads",
                causes="curvature.pack and curvature.unpack have no method for this class of operators",
            )
            return
        back = cv.load(path, case.setting.backend)
    expect(type(back) is type(operator), "load(save(A))", type(back).__name__, formula=type(operator).__name__)
    same = np.array_equal(case.dense(back), case.dense(operator))
    expect(
        same,
        "load(save(A)).to_dense()",
        "other numbers",
        formula="those of A, to the last bit",
        causes="an attribute that pack does not write, a dtype that is narrowed",
    )
    expect(
        back.symmetric == operator.symmetric and back.structure == operator.structure,
        "load(save(A))",
        f"symmetric={back.symmetric}, structure={back.structure!r}",
        formula=f"symmetric={operator.symmetric}, structure={operator.structure!r}",
    )
