"""Solving, inverting and powers, damped."""

from __future__ import annotations

import numpy as np

from ..cases.base import Form, OperatorCaseBase
from ..checklist import check
from .forms import DEFINITE, SYMMETRIC

_RELATIVE = (0.03, 1.0, 30.0)


def dampings(case: OperatorCaseBase, dense: np.ndarray) -> tuple[float, ...]:
    """A weak, a moderate and a strong damping relative to the mean eigenvalue."""
    if case.form < Form.DEFINITE:
        return (2.0 * float(np.linalg.norm(dense, 2)) or 1.0,)  # enough for A + λI to be positive definite
    mean = float(np.trace(dense)) / case.size
    return tuple(factor * (mean if mean > 0 else 1.0) for factor in _RELATIVE)


def damped(case: OperatorCaseBase, dense: np.ndarray, damping: float) -> np.ndarray:
    """A + λI on the host."""
    return dense + damping * np.eye(case.size)


_CAUSES = (
    "damping applied twice or to the factors (factored damping is an option of a method, never of solve), damping that is "
    "ignored, (A + λI)⁻¹ of the factors instead of the product"
)


@check("operator", "inverses", applies=SYMMETRIC, source="Tikhonov 1963: damping is added to the matrix itself")
def solve_undoes_the_product(case: OperatorCaseBase) -> None:
    """solve(v, damping) is exactly (A + λI)⁻¹ v for weak and strong damping, vectors, matrices and trees."""
    operator = case.operator()
    dense, v, several = case.dense(operator), case.vector(1), case.vectors(2, seed=2)
    for damping in dampings(case, dense):
        expected = np.linalg.solve(damped(case, dense, damping), v)
        what, formula = f"solve(v, damping={damping:.3g})", "(A + λI)⁻¹ v with the λ that was given"
        case.close(operator.solve(case.array(v), damping=damping), expected, what, formula=formula, causes=_CAUSES, tolerance=20)
        many = np.linalg.solve(damped(case, dense, damping), several)
        case.close(
            operator.solve(case.array(several), damping=damping),
            many,
            f"solve(V, damping={damping:.3g})",
            formula=formula,
            causes=_CAUSES,
            tolerance=20,
        )
        if not case.parameters:
            continue
        flat = case.array(case.flat(operator.solve(case.as_tree(v), damping=damping)))
        case.close(flat, expected, f"solve(tree, damping={damping:.3g})", formula=formula, causes=_CAUSES, tolerance=20)


@check("operator", "inverses", applies=DEFINITE, source="Tikhonov 1963: damping is added to the matrix itself")
def inverse_is_an_operator(case: OperatorCaseBase) -> None:
    """inverse(damping) is the operator (A + λI)⁻¹."""
    operator = case.operator()
    dense = case.dense(operator)
    for damping in dampings(case, dense):
        inverse = operator.inverse(damping)
        expected = np.linalg.inv(damped(case, dense, damping))
        case.close(inverse.to_dense(), expected, f"inverse({damping:.3g})", formula="(A + λI)⁻¹", causes=_CAUSES, tolerance=20)
        v = case.vector(3)
        case.close(inverse @ case.array(v), expected @ v, f"inverse({damping:.3g}) @ v", formula="(A + λI)⁻¹ v", tolerance=20)


@check("operator", "inverses", applies=DEFINITE, source="Higham 2008, section 1.2")
def powers(case: OperatorCaseBase) -> None:
    """power(1/2)² = A + λI, power(-1/2)² = (A + λI)⁻¹, power(2) = A²."""
    operator = case.operator()
    dense = case.dense(operator)
    damping = dampings(case, dense)[1]
    for p, whole in ((0.5, damped(case, dense, damping)), (-0.5, np.linalg.inv(damped(case, dense, damping)))):
        root = case.dense(operator.power(p, damping))
        case.close(
            case.array(root @ root),
            whole,
            f"power({p}, {damping:.3g}) squared",
            formula=f"(A + λI)^{2 * p:g}",
            causes="a root of the entries instead of the matrix, damping added to the root",
            tolerance=50,
        )
        values = np.linalg.eigvalsh((root + root.T) / 2)
        case.close(
            case.array(np.minimum(values, 0.0)),
            np.zeros(case.size),
            f"negative eigenvalues of power({p})",
            formula="none: the root is positive",
            tolerance=50,
        )
    case.close(operator.power(2).to_dense(), dense @ dense, "power(2)", formula="A²", tolerance=50)
    case.close(
        operator.power(-1, damping).to_dense(),
        np.linalg.inv(damped(case, dense, damping)),
        "power(-1)",
        formula="(A + λI)⁻¹",
        tolerance=50,
    )
