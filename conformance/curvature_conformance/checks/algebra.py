"""Sums, multiples, products and transposes of operators."""

from __future__ import annotations

import numpy as np

from ..cases.base import Form, OperatorCaseBase
from ..checklist import CONTRACT, check
from .forms import SQUARE
from .inverses import damped, dampings


@check("operator", "algebra", applies=SQUARE, source=CONTRACT)
def multiples(case: OperatorCaseBase) -> None:
    """c · A, A · c, -A and A / c are the multiples of to_dense(), and so are their solves and traces."""
    operator = case.operator()
    dense = case.dense(operator)
    for label, found, factor in (
        ("2.5 * A", 2.5 * operator, 2.5),
        ("A * 0.5", operator * 0.5, 0.5),
        ("-A", -operator, -1.0),
        ("A / 4", operator / 4.0, 0.25),
        ("A.scaled(3.0)", operator.scaled(3.0), 3.0),
    ):
        case.close(
            found.to_dense(),
            factor * dense,
            label,
            formula=f"{factor} · to_dense()",
            causes="a factor that goes to each Kronecker factor",
        )
        case.close(found.trace(), factor * np.trace(dense), f"({label}).trace()", formula=f"{factor} · trace()")
    if case.form < Form.DEFINITE:
        return
    v, damping = case.vector(1), dampings(case, dense)[1]
    expected = np.linalg.solve(damped(case, 2.5 * dense, damping), v)
    found = (2.5 * operator).solve(case.array(v), damping=damping)
    case.close(
        found,
        expected,
        "(2.5 * A).solve(v, damping)",
        formula="(2.5 A + λI)⁻¹ v",
        causes="a decomposition kept from before",
        tolerance=20,
    )


@check("operator", "algebra", applies=SQUARE, source=CONTRACT)
def sums_and_products(case: OperatorCaseBase) -> None:
    """A + A, A - A, A @ A and A.T are those of to_dense(), as is the sum with the approximation of another matrix."""
    operator = case.operator()
    dense = case.dense(operator)
    case.close((operator + operator).to_dense(), 2 * dense, "A + A", formula="2 · to_dense()")
    case.close((operator - operator).to_dense(), np.zeros_like(dense), "A - A", formula="0")
    case.close((operator @ operator).to_dense(), dense @ dense, "A @ A", formula="to_dense()²", tolerance=10)
    case.close(operator.T.to_dense(), dense.T, "A.T", formula="the transpose")
    other = case.another()
    case.close(
        (operator + other).to_dense(), dense + case.dense(other), "A + B", formula="the sum of both", causes="operands mixed up"
    )
    v = case.vector(2)
    case.close((operator + other) @ case.array(v), (dense + case.dense(other)) @ v, "(A + B) @ v", formula="A v + B v")
    product = dense @ case.dense(other)
    case.close((operator @ other).to_dense(), product, "A @ B", formula="the product of both", causes="B @ A", tolerance=10)
