"""How an approximation changes with the coordinates of a layer: K-FAC does as the matrix does, the diagonal cannot."""

from __future__ import annotations

from typing import Any

import numpy as np

import curvature as cv

from ..cases.on_scenario import Case
from ..checklist import check
from ..failures import deviation, expect
from ..theory import INVARIANT, NOT_INVARIANT

_SCENARIO = "tanh-network/categorical"
_SOURCE = "Martens and Grosse 2015, theorem 1"


def _other_coordinates(case: Case) -> tuple[Case, np.ndarray]:
    """The network of the scenario in other coordinates W = Ω W' Φ, b = b' Φ of each layer, and T = ∂θ/∂θ'."""
    setting = case.setting
    maps, params, blocks = [], [], []
    for layer, (weight, bias) in enumerate(case.scenario.params):
        before, after = (_well_conditioned(case, n, 20 + 2 * layer + i) for i, n in enumerate(weight.shape))
        maps.append((setting.asarray(before), setting.asarray(after)))
        params.append((np.linalg.solve(before, np.linalg.solve(after.T, weight.T).T), np.linalg.solve(after.T, bias)))
        homogeneous = np.eye(len(before) + 1)
        homogeneous[:-1, :-1] = before
        # Row-major: W_ij = Σ Ω_ia W'_ab Φ_bj.
        blocks.append(np.kron(homogeneous, after.T))
    (in1, out1), (in2, out2) = maps

    def apply(params: Any, x: Any) -> Any:
        (w1, b1), (w2, b2) = params
        hidden = cv.namespace(x).tanh((x @ in1 @ w1 + b1) @ out1)
        return (hidden @ in2 @ w2 + b2) @ out2

    total = sum(len(block) for block in blocks)
    jacobian, start = np.zeros((total, total)), 0
    for block in blocks:
        jacobian[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return case.with_scenario(apply=apply, params=params), jacobian


def _well_conditioned(case: Case, n: int, seed: int) -> np.ndarray:
    return np.eye(n) + 0.3 * case.setting.normal(n, n, seed=seed)


def _on(names: tuple[str, ...]) -> Any:
    return lambda case: case.scenario.name == _SCENARIO and case.setting.label in names


@check("approximation", "theorems", applies=_on(INVARIANT), source=_SOURCE)
def invariant_under_linear_maps_of_a_layer(case: Case) -> None:
    """With W = Ω W' Φ in each layer the approximation is Tᵀ A T, so that a natural-gradient step is the same function."""
    other, jacobian = _other_coordinates(case)
    expected = jacobian.T @ case.dense(case.approximation()) @ jacobian
    case.close(
        other.approximation().to_dense(),
        expected,
        f"{case.setting.label} in the coordinates W', dense",
        formula="Tᵀ A T, as the Fisher itself: A' = Ωᵀ A Ω and G' = Φ G Φᵀ",
        causes="inputs or gradients taken on the other side of a linear map, factors that are normalised one by one",
        tolerance=10,
    )


@check("approximation", "theorems", applies=_on(NOT_INVARIANT), source=_SOURCE)
def not_invariant_where_it_cannot_be(case: Case) -> None:
    """With W = Ω W' Φ in each layer a diagonal is not Tᵀ A T."""
    other, jacobian = _other_coordinates(case)
    gap = deviation(case.dense(other.approximation()), jacobian.T @ case.dense(case.approximation()) @ jacobian)
    expect(
        gap > 1e-3,
        f"{case.setting.label} in the coordinates W'",
        f"Tᵀ A T to {gap:.1e}",
        formula="another matrix: a congruence of a diagonal matrix is not diagonal",
        causes="the method computes something else than its name says",
    )
