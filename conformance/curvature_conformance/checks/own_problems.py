"""Somebody's own model, likelihood and data, against differences of the model's own outputs.

Nothing is known of the model in closed form, so its outputs are the reference: derivatives are compared with central
differences of them, matrices with the Jacobian-vector products that those give.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

import curvature as cv
from curvature.trees import leaves

from ..cases.of_problem import ProblemCase
from ..checklist import CONTRACT, check
from ..diagnosis import diagnose
from ..failures import CheckFailure, deviation, expect
from .problems import gradients_from_layers

_DIFFERENCES = "central differences at the step where they settle (Ridders 1982)"


def _difference(function: Callable[[float], np.ndarray], case: ProblemCase) -> tuple[np.ndarray, float]:
    """(d/dt function(t) at 0, how far that may be off) by central differences with steps from large to tiny.

    Large steps cross kinks and bends, tiny ones are lost in rounding: the step is taken at which two in a row agree best
    (Ridders 1982).
    """
    eps = float(np.finfo(case.setting.dtype).eps)
    steps = [(1e-2 if eps < 1e-10 else 1e-1) * 0.25**k for k in range(9)]
    ends = [(function(h), function(-h)) for h in steps]
    central = [(ahead - behind) / (2 * h) for h, (ahead, behind) in zip(steps, ends, strict=True)]
    better = [(16 * fine - coarse) / 15 for coarse, fine in pairwise(central)]
    size = max(float(np.max(np.abs(ahead), initial=0.0)) for ahead, _ in ends)
    errors = [
        float(np.max(np.abs(one - other), initial=0.0)) + 4 * eps * size / h
        for h, one, other in zip(steps[2:], better, better[1:], strict=False)
    ]
    best = int(np.nanargmin(errors))
    return better[best + 1], errors[best]


def _near(
    case: ProblemCase,
    found: np.ndarray,
    expected: np.ndarray,
    what: str,
    formula: str,
    causes: str,
    *,
    scale: float = 0.0,
    error: float = 0.0,
) -> None:
    """Raise unless ``found`` is ``expected`` to 1e-6 (2e-2 in float32) of their size, and to what ``expected`` may be off."""
    relative = (1e-6 if case.setting.dtype == "float64" else 2e-2) * case.setting.slack
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    size = max(scale, float(np.max(np.abs(expected), initial=0.0)))
    allowed = relative * size + 10 * error
    gap = float(np.max(np.abs(found - expected), initial=0.0))
    if not gap <= allowed:
        raise CheckFailure(
            what,
            f"deviation {gap:.1e} at a size of {size:.1e}, allowed {allowed:.1e}",
            formula=formula,
            causes=causes,
            diagnosis=diagnose(found, expected, relative, {"N": float(case.batch.size)}),
        )


def _direction(case: ProblemCase, seed: int) -> np.ndarray:
    """A direction that moves every parameter in proportion to the size of the array that it is in."""
    leaves = [np.ravel(case.setting.numpy(leaf)).astype(float) for leaf in case.problem.space.flatten(case.problem.params)]
    sizes = [float(np.sqrt(np.mean(leaf**2))) if leaf.size else 0.0 for leaf in leaves]
    typical = float(np.median(sizes)) or 1.0
    scales = [np.full(leaf.size, size or 0.1 * typical) for leaf, size in zip(leaves, sizes, strict=True)]
    return case.vector(seed) * np.concatenate(scales)


@check("problem", "model", source=CONTRACT)
def outputs_depend_on_nothing_but_the_arguments(case: ProblemCase) -> None:
    """The outputs at one point are the same numbers each time, also after the outputs at another point."""
    params = case.problem.params
    first = case.outputs(params)
    case.outputs(case.moved(_direction(case, 1), 1.0))
    for label in ("second", "third"):
        again = case.outputs(params)
        expect(
            bool(np.array_equal(first, again)),
            f"outputs, evaluated a {label} time",
            f"other numbers (relative deviation {deviation(again, first):.1e})",
            formula="the same: a model is a function of its parameters and inputs",
            causes="dropout in training mode, a random state inside the model, running statistics of batch normalisation",
        )


@check("problem", "model", source=CONTRACT)
def outputs_have_the_dtype_and_device_of_the_parameters(case: ProblemCase) -> None:
    """Outputs are floating arrays of the backend, dtype and device of the parameters."""
    case.setting.require_own(case.problem.outputs(case.problem.params, case.batch), "the model's outputs")


@check(
    "problem",
    "model",
    applies=lambda case: case.batch.size > 1 and case.batch.x is not None,
    source="Martens 2020, section 3: examples are independent",
)
def examples_are_independent(case: ProblemCase) -> None:
    """The outputs of an example are the same whether it is evaluated alone, with some, or with all of the others."""
    params, n = case.problem.params, case.batch.size
    whole = case.outputs(params)
    for rows in (slice(0, 1), slice(n - 1, n), slice(0, n - 1)):
        alone = case.outputs(params, case.rows(rows))
        _near(
            case,
            alone,
            whole[rows],
            f"outputs of examples {rows.start}..{rows.stop - 1} evaluated without the others",
            "those in the whole batch: p(y | x) is that of each example, and the Fisher information a sum over examples",
            "batch normalisation in training mode, a mean or a softmax over the batch axis",
            scale=float(np.max(np.abs(whole))),
        )


@check("problem", "model", capability="vjp", source="Ridders 1982 for the differences")
def the_gradient_is_that_of_the_loss(case: ProblemCase) -> None:
    """⟨∇L, v⟩ is the derivative of loss() along v."""
    gradient = case.gradient(case.problem.params)
    for seed in (2, 3):
        v = _direction(case, seed)

        def loss(t: float, v: np.ndarray = v) -> np.ndarray:
            return case.setting.numpy(case.problem.at(case.moved(v, t)).loss()).astype(float)

        slope, error = _difference(loss, case)
        _near(
            case,
            np.asarray(gradient @ v),
            slope,
            "⟨∇L, v⟩",
            f"dL(θ + tv)/dt, {_DIFFERENCES}",
            "a detach or stop_gradient inside the model, a parameter that enters through a copy, a kink at this very point",
            scale=float(np.linalg.norm(gradient * v)),
            error=error,
        )


@check(
    "problem",
    "model",
    capability=("vjp", "linearize"),
    source="Ridders 1982 for the differences; Griewank and Walther 2008, chapter 3",
)
def the_jacobian_is_that_of_the_outputs(case: ProblemCase) -> None:
    """J v is the derivative of the outputs along v, and ⟨u, J v⟩ = ⟨Jᵀ u, v⟩."""
    jacobian, v = cv.Jacobian(case.problem), _direction(case, 4)
    pushed = case.setting.numpy(jacobian @ case.array(v)).astype(float)
    slope, error = _difference(lambda t: np.ravel(case.outputs(case.moved(v, t))), case)
    causes = "a custom derivative rule that is wrong in forward mode, a hook, a detached part"
    _near(case, pushed, slope, "J v", f"df(θ + tv)/dt, {_DIFFERENCES}", causes, error=error)
    u = case.setting.normal(pushed.size, seed=5)
    pulled = case.setting.numpy(jacobian.T @ case.array(u)).astype(float)
    size = float(np.linalg.norm(u) * np.linalg.norm(pushed))
    _near(case, np.asarray(pulled @ v), np.asarray(u @ pushed), "⟨Jᵀ u, v⟩", "⟨u, J v⟩", causes, scale=size)


@check("problem", "model", capability="hvp", source="Ridders 1982 for the differences; Pearlmutter 1994")
def the_hessian_is_that_of_the_gradient(case: ProblemCase) -> None:
    """∇²L v is the derivative of the gradient along v, and ⟨u, ∇²L v⟩ = ⟨v, ∇²L u⟩."""
    hessian, v, u = cv.Hessian(case.problem), _direction(case, 6), _direction(case, 7)
    product = case.setting.numpy(hessian @ case.array(v)).astype(float)
    slope, error = _difference(lambda t: case.gradient(case.moved(v, t)), case)
    causes = "a second derivative that is wrong or missing in a custom rule, a kink near this point"
    _near(case, product, slope, "∇²L v", f"d∇L(θ + tv)/dt, {_DIFFERENCES}", causes, error=error)
    other = case.setting.numpy(hessian @ case.array(u)).astype(float)
    size = float(np.linalg.norm(u) * np.linalg.norm(product))
    _near(
        case,
        np.asarray(u @ product),
        np.asarray(v @ other),
        "⟨u, ∇²L v⟩",
        "⟨v, ∇²L u⟩: a Hessian is symmetric",
        causes,
        scale=size,
    )


@check("problem", "model", capability="linearize", source="Martens 2020, sections 8 and 9.1")
def the_fisher_is_made_of_the_jacobian(case: ProblemCase) -> None:
    """⟨u, F v⟩ and ⟨u, G v⟩ are Σ_n w_n (J_n u)ᵀ F_n (J_n v), with J_n v by differences of the outputs."""
    problem, setting = case.problem, case.setting
    u, v = _direction(case, 8), _direction(case, 9)
    shape = case.outputs(problem.params).shape
    slopes = [_difference(lambda t, d=d: np.ravel(case.outputs(case.moved(d, t))), case) for d in (u, v)]  # type: ignore[misc]
    pushed = [slope.reshape(shape) for slope, _ in slopes]
    # A relative error of each slope is one of the form that is made of both.
    off = sum(error / (float(np.max(np.abs(slope), initial=0.0)) or 1.0) for slope, error in slopes)
    outputs, weights = problem.outputs(problem.params, case.batch), case.batch.weights
    ones = np.ones(shape[0]) if weights is None else setting.numpy(weights).astype(float)
    shares = ones if problem.reduction == "sum" else ones / ones.sum()
    products = {
        "Fisher": problem.likelihood.fisher_product(outputs, setting.asarray(pushed[1])),
        "GGN": problem.likelihood.hessian_product(outputs, problem.targets(case.batch), setting.asarray(pushed[1])),
    }
    for name, product in products.items():
        expected = float(np.einsum("n,nc,nc->", shares, pushed[0], setting.numpy(product).astype(float)))
        matrix = getattr(cv, name)(problem)
        found = float(u @ setting.numpy(matrix @ case.array(v)).astype(float))
        sizes = [float(d @ setting.numpy(matrix @ case.array(d)).astype(float)) for d in (u, v)]
        scale = abs(sizes[0] * sizes[1]) ** 0.5
        _near(
            case,
            np.asarray(found),
            np.asarray(expected),
            f"⟨u, {name} v⟩",
            "Σ_n w_n (J_n u)ᵀ F_n (J_n v), over the examples' shares of the loss",
            "outputs whose examples depend on one another, weights that count twice",
            scale=scale,
            error=off * scale,
        )


@check("problem", "model", capability="parameter_uses", source="Goodfellow 2015")
def layers_give_the_gradients_of_each_example(case: ProblemCase) -> None:
    """The layers that were recognised give J_nᵀ s of each example as reverse mode does, parameter by parameter."""
    problem, setting, n = case.problem, case.setting, case.batch.size
    outputs = case.outputs(problem.params)
    seeds = setting.normal(*outputs.shape, 1, seed=10)
    found = gradients_from_layers(setting, problem, case.batch, seeds).astype(float)
    for example in range(n):
        lone = np.zeros_like(outputs)
        lone[example] = seeds[example, :, 0]
        expected = setting.numpy(cv.Jacobian(problem).T @ setting.asarray(lone.ravel())).astype(float)
        _near(
            case,
            found[:, example],
            expected,
            f"the gradient of example {example}, put together from the layers",
            "J_nᵀ s by reverse mode",
            "a layer that mixes examples, a parameter that enters in a way that looks like a layer and is none",
            scale=float(np.max(np.abs(found))),
        )


@check("problem", "model", capability="linearize", source=CONTRACT)
def several_batches_are_one(case: ProblemCase) -> None:
    """Two batches of the examples give the loss and the Fisher of one batch of them all."""
    problem, n = case.problem, case.batch.size
    if n < 2:
        return
    split = problem.at(data=[case.rows(slice(0, 1)), case.rows(slice(1, n))])
    causes = "a loss that is an average over the batch inside the model, batch statistics"
    loss = [float(case.setting.numpy(p.loss())) for p in (split, problem)]
    _near(case, np.asarray(loss[0]), np.asarray(loss[1]), "loss() of two batches", "that of one batch", causes)
    v = case.array(_direction(case, 11))
    found, expected = (case.setting.numpy(cv.Fisher(p) @ v).astype(float) for p in (split, problem))
    _near(case, found, expected, "Fisher @ v of two batches", "that of one batch", causes)


@check("problem", "model", capability=("vjp", "linearize"), source=CONTRACT)
def parameters_and_data_stay_as_they_are(case: ProblemCase) -> None:
    """Losses, gradients and products write into neither the parameters nor the data."""
    problem, batch = case.problem, case.batch

    def kept() -> dict[str, list[np.ndarray]]:
        parts = {"parameters": problem.params, "inputs": batch.x, "targets": batch.y, "weights": batch.weights}
        return {name: [case.setting.numpy(leaf) for leaf in leaves(part)] for name, part in parts.items() if part is not None}

    before = kept()
    problem.loss_and_gradient()
    cv.GGN(problem) @ case.array(case.vector())
    for name, arrays in kept().items():
        same = all(map(np.array_equal, before[name], arrays))
        expect(same, f"the {name} afterwards", "other numbers", formula="as they were", causes="an in-place write")
