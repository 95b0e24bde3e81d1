"""Eigenvalues and what follows from them: determinant, trace, norms, draws."""

from __future__ import annotations

import numpy as np

from ..cases.base import SEED, OperatorCaseBase
from ..checklist import check
from ..failures import expect
from .forms import DEFINITE, SQUARE, SYMMETRIC
from .inverses import damped, dampings

_DRAWS = 3000


@check("operator", "spectra", applies=DEFINITE, source="Golub and Van Loan 2013, section 3.2")
def logdet(case: OperatorCaseBase) -> None:
    """logdet(damping) is log det(A + λI)."""
    operator = case.operator()
    dense = case.dense(operator)
    for damping in dampings(case, dense):
        matrix = damped(case, dense, damping)
        expected = float(np.linalg.slogdet(matrix)[1])
        # Absolute errors of the logarithms of P eigenvalues, whatever their sum.
        scale = max(1.0, float(np.sum(np.abs(np.log(np.linalg.eigvalsh(matrix))))) / max(abs(expected), 1e-300))
        case.close(
            operator.logdet(damping),
            expected,
            f"logdet({damping:.3g})",
            formula="log det(A + λI), here by LU of to_dense()",
            causes="half of it (log det L), the determinant of the factors without their sizes, λ left out",
            tolerance=10 * scale,
        )


@check("operator", "spectra", applies=SQUARE, source="Golub and Van Loan 2013, section 2.3")
def trace_diagonal_and_norms(case: OperatorCaseBase) -> None:
    """trace(), diagonal(), norm() and norm(2) are those of to_dense()."""
    operator = case.operator()
    dense = case.dense(operator)
    case.close(operator.trace(), np.trace(dense), "trace()", formula="Σ_i A_ii")
    case.close(
        operator.diagonal(),
        np.diag(dense),
        "diagonal()",
        formula="A_ii in the flat order",
        causes="the blocks' layout instead of the flat order",
    )
    case.close(operator.norm(), np.linalg.norm(dense), "norm()", formula="(Σ_ij A_ij²)^½, Frobenius", causes="its square")
    case.close(operator.norm(2), np.linalg.norm(dense, 2), "norm(2)", formula="the largest singular value", tolerance=10)


@check("operator", "spectra", applies=SYMMETRIC, source="Golub and Van Loan 2013, section 8.1")
def eigenvalues_and_eigenvectors(case: OperatorCaseBase) -> None:
    """eigh() gives ascending eigenvalues and orthonormal vectors that make up A; eigh(k) the k largest, largest first."""
    operator = case.operator()
    dense = case.dense(operator)
    expected = np.linalg.eigvalsh((dense + dense.T) / 2)
    values, vectors = operator.eigh()
    w, v = case.setting.numpy(values).astype(float), case.setting.numpy(vectors).astype(float)
    expect(
        bool(np.all(np.diff(w) >= 0)),
        "eigenvalues of eigh()",
        f"in the order {np.round(w, 4)}",
        formula="ascending",
        causes="the blocks' spectra one after the other",
    )
    case.close(values, expected, "eigenvalues of eigh()", formula="those of to_dense()", tolerance=10)
    case.close(case.array(v.T @ v), np.eye(case.size), "VᵀV of eigh()", formula="I: the vectors are orthonormal", tolerance=20)
    case.close(
        case.array(v * w @ v.T),
        dense,
        "V diag(λ) Vᵀ of eigh()",
        formula="A",
        causes="values sorted without their vectors",
        tolerance=20,
    )
    k = min(3, case.size)
    values, vectors = operator.eigh(k)
    v = case.setting.numpy(vectors).astype(float)
    largest = expected[np.argsort(-np.abs(expected), kind="stable")][:k]
    case.close(
        values,
        largest,
        f"eigenvalues of eigh({k})",
        formula=f"the {k} largest in magnitude, largest first",
        causes="the smallest",
        tolerance=10,
    )
    case.close(case.array(v.T @ v), np.eye(k), f"VᵀV of eigh({k})", formula="I", tolerance=20)
    residual = np.max(np.abs(dense @ v - v * largest)) / max(float(np.max(np.abs(largest))), 1e-300)
    expect(
        bool(residual <= 50 * case.setting.tolerance), f"A V - V Λ of eigh({k})", f"{residual:.1e} relative to λ_max", formula="0"
    )


@check("operator", "spectra", applies=DEFINITE, source="Isserlis 1918 for the standard errors")
def draws_have_the_covariance(case: OperatorCaseBase) -> None:
    """sample() draws from N(0, (A + λI)⁻¹), or with inverse=False from N(0, A + λI), to six standard errors."""
    operator = case.operator()
    dense = case.dense(operator)
    damping = dampings(case, dense)[1]
    matrix = damped(case, dense, damping)
    for inverse, covariance in ((True, np.linalg.inv(matrix)), (False, matrix)):
        rng = case.setting.backend.rng(SEED)
        draws = case.setting.require_own(operator.sample(rng, _DRAWS, inverse=inverse, damping=damping), "sample")
        expect(draws.shape == (_DRAWS, case.size), "sample", f"shape {draws.shape}", formula=f"({_DRAWS}, {case.size})")
        draws = draws.astype(float)
        variances = np.diag(covariance)
        # Var of a mean of products of two normal numbers (Isserlis 1918).
        error = np.sqrt((np.outer(variances, variances) + covariance**2) / _DRAWS)
        worst = float(np.max(np.abs(draws.T @ draws / _DRAWS - covariance) / error))
        expect(
            worst <= 6,
            f"the covariance of {_DRAWS} draws with inverse={inverse}",
            f"{worst:.1f} standard errors off",
            formula="(A + λI)⁻¹, or A + λI with inverse=False",
            causes="the inverse for the matrix, a Cholesky factor of the wrong side",
        )
        shift = float(np.max(np.abs(draws.mean(axis=0)) / np.sqrt(variances / _DRAWS)))
        expect(shift <= 6, "the mean of the draws", f"{shift:.1f} standard errors off", formula="0")
    again = [case.setting.numpy(operator.sample(case.setting.backend.rng(1), 2, damping=damping)) for _ in range(2)]
    expect(
        bool(np.array_equal(again[0], again[1])),
        "sample, twice with one seed",
        "two results",
        formula="one",
        causes="randomness that does not come from rng",
    )
