"""The curvature matrices against dense references, and what they have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

import curvature as cv

from ..cases.on_scenario import Case
from ..checklist import CONTRACT, check
from ..failures import deviation, expect
from ..theory import PIECEWISE_LINEAR

_FORMULAS = {
    "fisher": "F = Σ_n w_n J_nᵀ E_y[s sᵀ] J_n, s = ∂ log p(y|f)/∂f, over the model's own y (Amari 1998; Martens 2020)",
    "ggn": "G = Σ_n w_n J_nᵀ H_n J_n with H_n = -∂² log p/∂f² (Schraudolph 2002)",
    "hessian": "H = G + Σ_n w_n Σ_c (∂ℓ_n/∂f_c) ∇²f_c (Schraudolph 2002)",
    "empirical-fisher": "Σ_n w_n g_n g_nᵀ with g_n the gradients at the data (Kunstner, Hennig and Balles 2019)",
}
_LABELS = {"fisher": "Fisher", "ggn": "GGN", "hessian": "Hessian", "empirical-fisher": "EmpiricalFisher"}
_CAUSES = "a sum for a mean, weights applied twice or not at all, a variance left out, the data's y for the model's own"


def _agrees(case: Case, name: str) -> None:
    matrix, expected = case.matrix(name), case.references.matrix(name)
    dense = matrix.to_dense()
    label = _LABELS[name]
    case.close(dense, expected, f"{label}(problem).to_dense()", formula=_FORMULAS[name], causes=_CAUSES)
    v, several = case.vector(1), case.vectors(2, seed=2)
    formula = f"{label} as a dense matrix times the vector"
    case.close(matrix @ case.array(v), expected @ v, f"{label} @ vector", formula=formula)
    case.close(matrix @ case.array(several), expected @ several, f"{label} @ matrix", formula=formula)
    tree = matrix @ case.as_tree(v)
    flat = case.array(case.setting.flat(tree))
    case.close(flat, expected @ v, f"{label} @ tree, flat", formula=formula, causes="leaves in another order than the flat one")


@check("matrix", "matrices", capability="linearize", source="Amari 1998; Martens 2020, section 9.1")
def fisher(case: Case) -> None:
    """Fisher is the reference: its dense form and its products with a vector, a matrix and a tree."""
    _agrees(case, "fisher")


@check("matrix", "matrices", capability="linearize", source="Schraudolph 2002; Martens 2020, section 8")
def ggn(case: Case) -> None:
    """GGN is the reference: its dense form and its products with a vector, a matrix and a tree."""
    _agrees(case, "ggn")


@check("matrix", "matrices", capability="hvp", source="Schraudolph 2002; Martens 2020, section 8")
def hessian(case: Case) -> None:
    """Hessian is the reference: its dense form and its products with a vector, a matrix and a tree."""
    _agrees(case, "hessian")


@check("matrix", "matrices", capability="linearize", source="Kunstner, Hennig and Balles 2019")
def empirical_fisher(case: Case) -> None:
    """EmpiricalFisher is the reference: its dense form and its products with a vector, a matrix and a tree."""
    _agrees(case, "empirical-fisher")


def _must_differ(case: Case) -> bool:
    references = case.references
    return deviation(references.empirical_fisher, references.fisher) > 0.05


@check("matrix", "matrices", capability="linearize", applies=_must_differ, source="Kunstner, Hennig and Balles 2019")
def the_empirical_fisher_is_another_matrix(case: Case) -> None:
    """EmpiricalFisher differs from Fisher where the labels at hand are not the model's own expectation."""
    found = deviation(case.dense(case.matrix("empirical-fisher")), case.dense(case.matrix("fisher")))
    expect(
        found > 0.01,
        "EmpiricalFisher(problem) and Fisher(problem)",
        f"differ by no more than {found:.1e}",
        formula="two different matrices here (Kunstner, Hennig and Balles 2019)",
        causes="one is an alias of the other: labels of the data where the model's own are meant, or the reverse",
    )


@check("matrix", "matrices", capability="linearize", source="Martens 2020, section 9.2")
def the_ggn_is_the_fisher_of_natural_parameters(case: Case) -> None:
    """GGN and Fisher are one matrix where the outputs are natural parameters, and two where they are not."""
    gap = deviation(case.dense(case.matrix("ggn")), case.dense(case.matrix("fisher")))
    known = deviation(case.references.ggn, case.references.fisher)
    natural = known <= case.setting.tolerance
    expect(
        gap <= 10 * case.setting.tolerance if natural else gap > 0.1 * known,
        f"GGN and Fisher with {type(case.scenario.likelihood).__name__}",
        f"differ by {gap:.1e}",
        formula=f"{'no difference' if natural else f'a difference of {known:.1e}'}: the Hessian of -log p in the outputs "
        f"{'does not depend' if natural else 'depends'} on y",
        causes="Likelihood.canonical is wrong, the data's Hessian for its expectation, or the reverse",
    )


@check(
    "matrix",
    "matrices",
    capability=("linearize", "hvp"),
    applies=lambda case: case.scenario.name in PIECEWISE_LINEAR,
    source="Botev, Ritter and Barber 2017, section 3",
)
def piecewise_linear_layers_have_the_blocks_of_the_ggn(case: Case) -> None:
    """With ReLU, Hessian and GGN have the same block for each layer, and differ between layers."""
    hessian, ggn = case.dense(case.matrix("hessian")), case.dense(case.matrix("ggn"))
    case.close(
        case.array(case.part(hessian, "blocks")),
        case.part(ggn, "blocks"),
        "the blocks by layer of Hessian(problem)",
        formula="those of the GGN: within a layer the outputs are linear in the parameters, almost everywhere",
        causes="a second derivative of the activation that is not zero",
        tolerance=10,
    )
    gap = deviation(hessian, ggn)
    expect(
        gap > 1e-3,
        "Hessian and GGN as a whole",
        f"differ by no more than {gap:.1e}",
        formula="two matrices: the outputs are not linear in two layers together",
        causes="the GGN under the name of the Hessian",
    )


@check("matrix", "matrices", capability=("jit", "linearize", "vjp"), applies=lambda case: case.scenario.quick, source=CONTRACT)
def compiling_changes_no_value(case: Case) -> None:
    """Loss and Fisher product inside of a compiled function of the parameters are what they are outside."""
    vector = case.vector(8)

    def function(params: Any, v: Any) -> Any:
        problem = case.problem.at(params)
        return problem.loss(), cv.Fisher(problem) @ v

    loss, product = case.setting.backend.jit(function)(case.params, case.array(vector))
    causes = "a value that is read while the program is being compiled, and baked into it"
    case.close(loss, case.references.loss, "loss() inside jit", formula="loss() outside", causes=causes)
    case.close(product, case.references.fisher @ vector, "Fisher @ v inside jit", formula="F v", causes=causes)


@check("matrix", "matrices", capability="linearize", source="Horn and Johnson 2013, theorem 7.2.10")
def symmetric_and_positive(case: Case) -> None:
    """Fisher, GGN, empirical and Monte Carlo Fisher are symmetric and positive semidefinite."""
    for name in ("fisher", "ggn", "empirical-fisher", "monte-carlo-fisher"):
        dense = case.dense(case.matrix(name))
        require_positive(case, dense, name)


def require_positive(case: Case, dense: np.ndarray, name: str) -> None:
    """Raise unless a dense matrix is symmetric and positive semidefinite to rounding."""
    scale = float(np.max(np.abs(dense), initial=0.0)) or 1.0
    allowed = 100 * case.setting.tolerance * scale
    gap = float(np.max(np.abs(dense - dense.T)))
    expect(
        gap <= allowed,
        f"A - Aᵀ of {name}",
        f"{gap:.1e}",
        formula="0: a sum of terms J ᵀS Sᵀ J is symmetric",
        causes="a transposed factor",
    )
    lowest = float(np.linalg.eigvalsh((dense + dense.T) / 2)[0])
    expect(
        lowest >= -allowed,
        f"the smallest eigenvalue of {name}",
        f"{lowest:.3g}",
        formula="≥ 0: a sum of squares",
        causes="the wrong sign, the Hessian in its place, rounding in float32 where float64 was asked for",
    )


@check("matrix", "matrices", capability=("linearize", "jvp"), source="Golub and Van Loan 2013, section 11.3")
def products_do_not_depend_on_the_route(case: Case) -> None:
    """linearised(), quadratic_forms() and the damped solve of a matrix agree with its dense form."""
    matrix, reference = case.matrix("fisher"), case.references.fisher
    v, w = case.vector(3), case.vector(4)
    case.close(matrix.linearised() @ case.array(v), reference @ v, "linearised() @ v", formula="A v")
    basis = np.stack([v, w], axis=1)
    forms = matrix.quadratic_forms([case.as_tree(v), case.as_tree(w)])
    case.close(forms, basis.T @ reference @ basis, "quadratic_forms([v, w])", formula="VᵀAV", tolerance=10)
    damping = 0.3 * float(np.trace(reference)) / case.size
    solved = matrix.solve(case.array(v), damping=damping)
    expected = np.linalg.solve(reference + damping * np.eye(case.size), v)
    # Conjugate gradients stop at a relative residual of 1e-10 (1e-5): the solution is that exact up to the condition.
    case.close(solved, expected, f"solve(v, damping={damping:.3g})", formula="(A + λI)⁻¹ v", tolerance=100)


@check("matrix", "matrices", capability="linearize", applies=lambda case: not case.scenario.batches, source=CONTRACT)
def a_sum_is_n_times_a_mean(case: Case) -> None:
    """With reduction="sum" everything is Σ w_n times what it is with "mean"."""
    scenario = case.scenario
    total = scenario.total_weight
    factor = total if scenario.reduction == "mean" else 1 / total
    other = case.with_scenario(reduction="sum" if scenario.reduction == "mean" else "mean")
    what, v = f"with reduction={other.scenario.reduction!r}", case.vector(5)
    case.close(other.problem.loss(), case.references.loss * factor, f"loss() {what}", formula="Σ w_n ℓ_n = (Σ w_n) · mean")
    for name in _FORMULAS:
        if name == "hessian" and not case.setting.backend.capabilities["hvp"].supported:
            continue
        expected = case.references.matrix(name) @ v * factor
        case.close(
            other.matrix(name) @ case.array(v),
            expected,
            f"{name} @ v {what}",
            formula="a matrix is that of the number which loss() returns",
        )


def _can_be_split(case: Case) -> bool:
    return case.scenario.size > 2 and not case.scenario.batches


@check("matrix", "matrices", capability="linearize", applies=_can_be_split, source=CONTRACT)
def several_batches_are_one(case: Case) -> None:
    """The same data as a list of batches gives the same loss, gradient and matrices."""
    n = case.scenario.size
    split = case.with_scenario(batches=(1, n - 1))
    v = case.vector(6)
    causes = "an average of averages, that forgets the sizes (or weights) of the batches; only the first batch"
    case.close(split.problem.loss(), case.references.loss, "loss() of two batches", formula="that of one batch", causes=causes)
    # All matrices walk over batches by one function: on most models one of them is enough.
    for name in _FORMULAS if case.scenario.quick else ("fisher",):
        if name == "hessian" and not case.setting.backend.capabilities["hvp"].supported:
            continue
        expected = case.references.matrix(name) @ v
        case.close(
            split.matrix(name) @ case.array(v),
            expected,
            f"{name} @ v of two batches",
            formula="that of one batch",
            causes=causes,
        )


@check(
    "matrix",
    "matrices",
    capability="linearize",
    applies=lambda case: case.scenario.size > 2 and not case.scenario.batches,
    source=CONTRACT,
)
def an_example_of_weight_zero_is_absent(case: Case) -> None:
    """An example of weight zero has no influence, whatever its values."""
    masked, absent = masked_and_absent(case)
    causes = "weights ignored, or the mean taken over N instead of Σ w_n"
    case.close(
        masked.problem.loss(),
        float(case.setting.numpy(absent.problem.loss())),
        "loss() with a masked example",
        formula="loss() without it",
        causes=causes,
    )
    v = case.array(case.vector(7))
    for kind in (cv.Fisher, cv.EmpiricalFisher):
        expected = case.setting.numpy(kind(absent.problem) @ v)
        case.close(
            kind(masked.problem) @ v,
            expected,
            f"{kind.__name__} @ v with a masked example",
            formula="that without it",
            causes=causes,
        )


def masked_and_absent(case: Case) -> tuple[Case, Case]:
    """The case with its second example masked, and without it."""
    scenario = case.scenario
    n = scenario.size
    weights = np.ones(n) if scenario.weights is None else scenario.weights.copy()
    weights[1] = 0.0
    keep = np.arange(n) != 1
    x = scenario.x
    masked = case.with_scenario(weights=weights)
    absent = case.with_scenario(x=None if x is None else x[keep], y=scenario.y[keep], weights=weights[keep])
    return masked, absent
