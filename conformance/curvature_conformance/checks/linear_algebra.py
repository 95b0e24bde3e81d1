"""Linear algebra that the Array API standard lacks or leaves open."""

from __future__ import annotations

import numpy as np

from ..checklist import CONTRACT, check
from ..failures import expect, expect_close
from ..setting import Setting

_N = 5


def _positive(setting: Setting) -> np.ndarray:
    root = setting.normal(_N, _N, seed=3)
    return root @ root.T + 0.5 * np.eye(_N)


@check("backend", "linear-algebra", capability="arrays", source="Golub and Van Loan 2013, section 4.2")
def cholesky_of_a_positive_definite_matrix(setting: Setting) -> None:
    """cholesky gives (L, True) with L lower triangular, L Lᵀ = A and a positive diagonal, and leaves A as it was."""
    matrix = _positive(setting)
    a = setting.asarray(matrix)
    lower, ok = setting.backend.cholesky(a)
    expect(ok is True or bool(ok), "ok of a positive definite matrix", repr(ok), formula="True")
    causes = "the upper factor where the lower was asked for"
    expect_close(
        setting, lower, np.linalg.cholesky(matrix), "L of cholesky(A)", formula="the lower factor, A = L Lᵀ", causes=causes
    )
    expect_close(setting, a, matrix, "A after cholesky(A)", formula="A as it was", causes="an in-place factorisation")


@check("backend", "linear-algebra", capability="arrays", source="Golub and Van Loan 2013, section 4.2")
def cholesky_without_a_factor(setting: Setting) -> None:
    """cholesky of an indefinite matrix says ok = False, and neither raises nor claims a factor."""
    vectors, _ = np.linalg.qr(setting.normal(_N, _N, seed=4))
    for label, values in (("indefinite", [-1.0, 1.0, 2.0, 3.0, 4.0]), ("negative definite", [-1.0, -2.0, -3.0, -4.0, -5.0])):
        _, ok = setting.backend.cholesky(setting.asarray(vectors * np.array(values) @ vectors.T))
        expect(
            not bool(ok),
            f"ok of cholesky of a matrix that is {label}",
            repr(ok),
            formula="False: it has no Cholesky factor",
            causes="NaN that is not looked for (JAX returns it), an exception that is swallowed",
        )


@check("backend", "linear-algebra", capability="arrays", source=CONTRACT)
def cholesky_symmetrises(setting: Setting) -> None:
    """cholesky factors (A + Aᵀ)/2, whichever triangle the library reads."""
    matrix = _positive(setting)
    skew = np.triu(np.full((_N, _N), 0.1), 1)
    lower, ok = setting.backend.cholesky(setting.asarray(matrix + skew - skew.T))
    expect(bool(ok), "ok", "False", formula="True: (A + Aᵀ)/2 is positive definite")
    expect_close(
        setting,
        lower,
        np.linalg.cholesky(matrix),
        "L of cholesky(A) for an A that is not quite symmetric",
        formula="the factor of (A + Aᵀ)/2",
        causes="the lower triangle read as it is (NumPy)",
    )


@check("backend", "linear-algebra", capability="arrays", source="Golub and Van Loan 2013, section 8.1")
def eigenvalues_and_eigenvectors(setting: Setting) -> None:
    """eigh gives ascending eigenvalues and orthonormal eigenvectors that make up the matrix again."""
    matrix = _positive(setting) - 2 * np.eye(_N)
    a = setting.asarray(matrix)
    values, vectors = setting.backend.eigh(a)
    v = setting.numpy(vectors).astype(float)
    w = setting.numpy(values).astype(float)
    expect(bool(np.all(np.diff(w) >= 0)), "eigenvalues of eigh", f"in the order {w}", formula="ascending")
    expect_close(setting, values, np.linalg.eigvalsh(matrix), "eigenvalues of eigh", formula="those of A", tolerance=10)
    gap = float(np.max(np.abs(v.T @ v - np.eye(_N))))
    expect(gap <= 100 * setting.tolerance, "VᵀV of eigh", f"differs from I by {gap:.1e}", formula="I: orthonormal columns")
    gap = float(np.max(np.abs(v @ np.diag(w) @ v.T - matrix)))
    expect(
        gap <= 100 * setting.tolerance,
        "V diag(λ) Vᵀ of eigh",
        f"differs from A by {gap:.1e}",
        formula="A",
        causes="eigenvectors as rows, eigenvalues sorted without their vectors",
    )
    expect_close(setting, a, matrix, "A after eigh(A)", formula="A as it was", causes="an in-place decomposition")


@check("backend", "linear-algebra", capability="arrays", source="Golub and Van Loan 2013, section 3.1")
def triangular_solves(setting: Setting) -> None:
    """solve_triangular solves lower, upper and transposed systems, for vectors and matrices, and reads one triangle only."""
    full = setting.normal(_N, _N, seed=5) + 4 * np.eye(_N)
    vector, matrix = setting.normal(_N, seed=6), setting.normal(_N, 2, seed=7)
    for lower in (True, False):
        triangle = np.tril(full) if lower else np.triu(full)
        for transposed in (False, True):
            effective = triangle.T if transposed else triangle
            for b in (vector, matrix):
                found = setting.backend.solve_triangular(
                    setting.asarray(full), setting.asarray(b), lower=lower, transposed=transposed
                )
                expect_close(
                    setting,
                    found,
                    np.linalg.solve(effective, b),
                    f"solve_triangular(a, b{b.shape}, lower={lower}, transposed={transposed})",
                    formula="op(tri(a))⁻¹ b",
                    causes="transposed ignored, the other triangle read",
                    tolerance=10,
                )


@check("backend", "linear-algebra", capability="arrays", source="Golub and Van Loan 2013, section 5.2")
def triangle_of_a_decomposition(setting: Setting) -> None:
    """triangle(A) is upper triangular (min(n, d), d) with RᵀR = AᵀA, for tall, square and wide A, which stays as it was."""
    for rows in (9, _N, 3):
        matrix = setting.normal(rows, _N, seed=8)
        a = setting.asarray(matrix)
        found = setting.numpy(setting.backend.triangle(a)).astype(float)
        where = f"triangle of a matrix {rows} × {_N}"
        expect(
            found.shape == (min(rows, _N), _N),
            f"the shape of the {where}",
            repr(found.shape),
            formula="(min(n, d), d)",
            causes="a complete decomposition, with rows of zeros, or the pair (Q, R)",
        )
        below = float(np.max(np.abs(np.tril(found, -1)), initial=0.0))
        expect(below == 0.0, f"what lies below the diagonal of the {where}", f"{below:.1e}", formula="0", causes="L, which is Rᵀ")
        expect_close(
            setting,
            setting.asarray(found.T @ found),
            matrix.T @ matrix,
            f"RᵀR of the {where}",
            formula="AᵀA",
            causes="R of Aᵀ",
            tolerance=10,
        )
        expect_close(setting, a, matrix, f"A after the {where}", formula="A as it was", causes="an in-place decomposition")


@check("backend", "linear-algebra", capability="arrays", source="Golub and Van Loan 2013, section 4.2")
def inverse_by_a_factor(setting: Setting) -> None:
    """inverse_by_factor(L) is (L Lᵀ)⁻¹ for a lower factor L, symmetric to the last bit; L stays as it was."""
    for n in (1, _N, 40):
        factor = np.tril(setting.normal(n, n, seed=9)) * 0.3 + 2 * np.eye(n)
        lower = setting.asarray(factor)
        found = setting.backend.inverse_by_factor(lower)
        expect_close(
            setting,
            found,
            np.linalg.inv(factor @ factor.T),
            f"inverse_by_factor(L {n} × {n})",
            formula="(L Lᵀ)⁻¹",
            causes="(LᵀL)⁻¹, one triangle only, or the inverse of L alone",
            tolerance=10,
        )
        host = setting.numpy(found)
        expect(
            bool(np.all(host == host.T)),
            f"the symmetry of inverse_by_factor(L {n} × {n})",
            f"entries differ by up to {np.max(np.abs(host - host.T)):.1e}",
            formula="X = Xᵀ",
            causes="two triangular solutions, whose rounding differs",
        )
        expect_close(setting, lower, factor, "L after inverse_by_factor(L)", formula="L as it was", causes="an in-place inverse")
