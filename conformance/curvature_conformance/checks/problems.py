"""The loss, its gradient, the Jacobian, and the layers of a problem."""

from __future__ import annotations

import numpy as np

import curvature as cv

from ..cases.on_scenario import Case
from ..checklist import CONTRACT, check
from ..failures import expect
from ..setting import Setting, leaves


@check("matrix", "problem", capability="vjp", source="Martens 2020, section 3")
def loss_and_gradient(case: Case) -> None:
    """loss() is L(θ) = Σ w_n ℓ_n / Σ w_n (or the sum), gradient() its gradient, in the form of the parameters."""
    formula = "-log p, normalised, averaged (or summed) with the weights; its gradient by hand"
    causes = "a mean over outputs as well, weights ignored, a constant of the likelihood left out"
    case.close(case.problem.loss(), case.references.loss, "loss()", formula=formula, causes=causes)
    gradient = case.problem.gradient()
    shapes = [tuple(leaf.shape) for leaf in leaves(gradient)]
    expected = [leaf.shape for leaf in leaves(case.scenario.params)]
    expect(shapes == expected, "gradient()", f"arrays of shapes {shapes}", formula=f"those of the parameters, {expected}")
    for leaf in leaves(gradient):
        case.setting.require_own(leaf, "gradient()")
    flat = case.array(case.setting.flat(gradient))
    case.close(flat, case.references.gradient, "gradient(), flat", formula=formula, causes=causes)


@check("matrix", "problem", capability="parameter_uses", source=CONTRACT)
def one_evaluation_gives_both(case: Case) -> None:
    """The kept evaluation of a problem gives the same loss and gradient as the problem without it."""
    kept = case.problem.at(keep=True)
    case.close(kept.loss(), case.references.loss, "loss() of problem.at(keep=True)", formula="L(θ)")
    flat = case.array(case.setting.flat(kept.gradient()))
    case.close(flat, case.references.gradient, "gradient() of problem.at(keep=True)", formula="∇L(θ)")


@check("matrix", "problem", capability=("linearize", "vjp"), source="Griewank and Walther 2008, chapter 3")
def jacobian(case: Case) -> None:
    """Jacobian is ∂f_n/∂θ, example by example, and Jᵀ its adjoint: ⟨u, Jv⟩ = ⟨Jᵀu, v⟩."""
    j = cv.Jacobian(case.problem)
    expected = case.references.jacobian.reshape(-1, case.size)
    expect(j.shape == expected.shape, "Jacobian(problem).shape", str(j.shape), formula=f"(N·C, P) = {expected.shape}")
    formula = "the Jacobian written out by hand, flat in the order of the tree's leaves (dictionaries by sorted key)"
    case.close(j.to_dense(), expected, "Jacobian(problem).to_dense()", formula=formula)
    v, u = case.vector(1), case.setting.normal(expected.shape[0], seed=2)
    case.close(j @ case.as_tree(v), expected @ v, "J @ tree", formula=formula)
    case.close(j @ case.array(v), expected @ v, "J @ v", formula=formula)
    case.close(j.T @ case.array(u), expected.T @ u, "J.T @ u", formula="Jᵀu: ⟨u, Jv⟩ = ⟨Jᵀu, v⟩")


@check("matrix", "problem", capability="linearize", source="Griewank and Walther 2008, chapter 3")
def one_pass_gives_both_maps(case: Case) -> None:
    """jvp_and_pull of a model gives J v and Jᵀ u; products fall back on linearize where it does not, and are slower."""
    problem, start = case.problem, 0
    tangent = case.as_tree(case.vector(1))
    for batch in problem.batches():
        jacobian = case.references.jacobian[start : start + batch.size]
        start += batch.size
        _, pushed, pull = problem.backend.jvp_and_pull(problem.outputs_of(batch), problem.params, tangent)
        case.close(pushed, jacobian @ case.vector(1), "jvp_and_pull, J v", formula="the Jacobian by hand times v")
        u = case.setting.normal(*jacobian.shape[:2], seed=2)
        pulled = case.array(case.setting.flat(pull(case.array(u))))
        case.close(pulled, np.einsum("ncp,nc->p", jacobian, u), "jvp_and_pull, Jᵀ u", formula="⟨u, J v⟩ = ⟨Jᵀ u, v⟩")


@check("matrix", "problem", capability="parameter_uses", source="Goodfellow 2015")
def layers_give_the_gradients_of_each_example(case: Case) -> None:
    """The layers' inputs and cotangents make up J_nᵀ S_n for every example, in the layout of their blocks."""
    problem, setting, start = case.problem, case.setting, 0
    for batch in problem.batches():
        stop = start + batch.size
        jacobian = case.references.jacobian[start:stop]
        factor = setting.normal(batch.size, jacobian.shape[1], 2, seed=4)
        expected = np.einsum("ncp,ncr->pnr", jacobian, factor)
        case.close(
            setting.asarray(gradients_from_layers(setting, problem, batch, factor)),
            expected.reshape(case.size, -1),
            "gradients of each example, put together from the layers",
            formula="J_nᵀ S_n: for an affine layer Σ_t g_nt a_ntᵀ (MATH: s = W a, ∂s/∂W = a)",
            causes="a weight stored (d_out, d_in) taken for (d_in, d_out), a bias without its weight, a shared use counted once",
        )
        start = stop


def gradients_from_layers(setting: Setting, problem: cv.Problem, batch: cv.Batch, factor: np.ndarray) -> np.ndarray:
    """J_nᵀ S_n of every example for S (N, C, R), put together from the layers: (P, N · R) on the host."""
    parts = []
    for value in problem.layers(batch, setting.asarray(factor)):
        gradients = setting.require_own(value.gradients(), "gradients of each example of a layer")
        parts.append(np.reshape(np.transpose(gradients, (1, 0, 2)), (gradients.shape[1], -1)))
    rows: np.ndarray = problem.structure.partition.scatter(np, parts)
    return rows


@check("matrix", "problem", capability=("vjp", "linearize"), source=CONTRACT)
def problems_change_nothing(case: Case) -> None:
    """Parameters, inputs, targets and weights are what they were after losses, gradients and products."""
    problem = case.problem
    problem.loss_and_gradient()
    cv.GGN(problem) @ case.array(case.vector())
    if case.setting.backend.capabilities["hvp"].supported:
        cv.Hessian(problem) @ case.array(case.vector())
    require_unchanged(case)


def require_unchanged(case: Case) -> None:
    """Raise if a parameter or a datum of the case is not what the scenario says."""
    scenario = case.scenario
    for name, found, kept in zip(case.problem.space.names, leaves(case.params), leaves(scenario.params), strict=True):
        case.close(found, kept, f"parameter {name!r} afterwards", formula="as it was", causes="an in-place write")
    start = 0
    for batch in case.batches:
        rows = slice(start, start + int(batch[1].shape[0]))
        start = rows.stop
        for name, found, kept in zip(("x", "y", "weights"), batch, (scenario.x, scenario.y, scenario.weights), strict=False):
            if kept is not None:
                case.close(found, kept[rows], f"{name} afterwards", formula="as it was", causes="an in-place write")
