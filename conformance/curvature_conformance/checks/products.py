"""Products of the approximation, its symmetry and its definiteness."""

from __future__ import annotations

import numpy as np

import curvature as cv

from ..cases.base import OperatorCaseBase
from ..cases.on_scenario import Case
from ..checklist import CONTRACT, check
from ..failures import CheckFailure, expect
from ..scenario import FISHER_TYPE
from .forms import ANY, SQUARE
from .matrices import require_positive


@check("operator", "products", source=CONTRACT)
def vectors_matrices_and_trees(case: OperatorCaseBase) -> None:
    """A @ v is to_dense() times v for a vector, a matrix and a tree of parameters, and a tree comes back as a tree."""
    operator = case.operator()
    dense, v, several = case.dense(operator), case.vector(1), case.vectors(3, seed=2)
    causes = "the blocks' layout taken for the flat order, a weight stored (d_out, d_in), factors in the wrong order"
    case.close(operator @ case.array(v), dense @ v, "A @ vector", formula="to_dense() @ vector", causes=causes)
    case.close(operator @ case.array(several), dense @ several, "A @ matrix", formula="to_dense() @ matrix", causes=causes)
    if not case.parameters:
        return
    argument = case.as_tree(v)
    tree = operator @ argument
    shapes, expected = case.shapes(tree), case.shapes(argument)
    expect(shapes == expected, "A @ tree", f"arrays of shapes {shapes}", formula=f"those of the parameters, {expected}")
    flat = case.array(case.flat(tree))
    case.close(flat, dense @ v, "A @ tree, flat", formula="to_dense() @ vector", causes=causes)


@check("operator", "products", applies=ANY, source="Horn and Johnson 2013, section 0.2")
def the_transpose_is_the_adjoint(case: OperatorCaseBase) -> None:
    """⟨u, A v⟩ = ⟨Aᵀ u, v⟩, A.T is the transpose of to_dense(), and what says that it is symmetric is."""
    operator = case.operator()
    dense = case.dense(operator)
    if operator.symmetric:
        gap = float(np.max(np.abs(dense - dense.T), initial=0.0))
        size = float(np.max(np.abs(dense), initial=0.0))
        expect(
            gap <= 100 * case.setting.tolerance * size,
            "A - Aᵀ of an operator whose attribute symmetric is True",
            f"{gap:.1e}",
            formula="0",
            causes="the default of Operator.symmetric is True: set it to False",
        )
    u, v = case.setting.normal(dense.shape[0], seed=3), case.vector(4)
    case.close(
        operator.T.to_dense(), dense.T, "A.T", formula="the transpose of to_dense()", causes="A itself, though not symmetric"
    )
    forward = float(u @ case.setting.numpy(operator @ case.array(v)).astype(float))
    backward = float(case.setting.numpy(operator.T @ case.array(u)).astype(float) @ v)
    scale = float(np.linalg.norm(u) * np.linalg.norm(v) * np.linalg.norm(dense)) or 1.0
    expect(
        abs(forward - backward) <= 10 * case.setting.tolerance * scale,
        "⟨u, A v⟩ and ⟨Aᵀ u, v⟩",
        f"{forward:.10g} and {backward:.10g}",
        formula="the same number",
        causes="a transpose that is forgotten in one of two products",
    )


@check("approximation", "products", source="Horn and Johnson 2013, theorem 7.2.10")
def symmetric_and_positive(case: Case) -> None:
    """The approximation of a Fisher-type matrix is symmetric and positive semidefinite."""
    for name in FISHER_TYPE:
        require_positive(case, case.dense(case.approximation(name)), f"the approximation of the {name}")


@check("operator", "products", applies=lambda case: SQUARE(case) and case.parameters, source=CONTRACT)
def blocks(case: OperatorCaseBase) -> None:
    """block(name) is the diagonal block of that parameter."""
    operator = case.operator()
    space = operator.space
    assert space is not None
    dense = case.dense(operator)
    for index, name in enumerate(space.names):
        rows = slice(space.offsets[index], space.offsets[index + 1])
        try:
            block = operator.block(name).to_dense()
        except Exception as error:
            raise CheckFailure(
                f"block({name!r})", f"{type(error).__name__}: {error}", formula="the block of a parameter"
            ) from error
        case.close(
            block,
            dense[rows, rows],
            f"block({name!r})",
            formula="that diagonal block of to_dense()",
            causes="offsets of another parameter, or the layout of a joined block taken for the flat order",
        )


@check("operator", "products", applies=ANY, source=CONTRACT)
def to_the_host_and_back(case: OperatorCaseBase) -> None:
    """The operator moved to another backend and back is the same operator; a matrix-free one is refused by name."""
    operator, backend = case.operator(), case.setting.backend
    dense = case.dense(operator)
    try:
        same = operator.to(backend)
    except cv.UnsupportedError as error:
        expect(operator.matrix_free, "A.to(its own backend)", f"UnsupportedError: {error}", formula="A: it holds arrays")
        return
    case.close(same.to_dense(), dense, "A.to(its own backend)", formula="A")
    host = operator.to("numpy")
    expect(host.backend.name == "numpy", 'A.to("numpy").backend', host.backend.name, formula="numpy")
    back = host.to(backend)
    case.close(
        back.to_dense(), dense, 'A.to("numpy").to(backend)', formula="A", causes="arrays that are not passed through map_arrays"
    )
    expect(back.structure == operator.structure, "its structure", back.structure, formula=operator.structure)
