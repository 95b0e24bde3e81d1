"""The same model in other coordinates: θ = φ(w), of each parameter by itself.

With D = ∂θ/∂w, everything of the form E[Jᵀ S Sᵀ J] becomes Dᵀ F D, a gradient Dᵀ g, and a Hessian Dᵀ H D + Σ_i g_i ∇²θ_i
(Amari 1998): only the Hessian knows that coordinates are curved. A weight that is computed from parameters belongs to no layer:
structured approximations take the general path, one dense block for each parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import curvature as cv

from ..scenario import References, Scenario

Array = Any


def reparametrised(scenario: Scenario, *names: str) -> Scenario:
    """θ = sinh w, element by element: ∂θ/∂w = cosh w = √(1 + θ²) and ∂²θ/∂w² = θ. (Of vectors: theorems are kept.)"""

    def forward(w: Array) -> Array:
        return cv.namespace(w).sinh(w)

    def slope(theta: np.ndarray) -> np.ndarray:
        return np.diag(np.ravel(np.sqrt(1 + theta**2)))

    return _moved(scenario, "sinh-coordinates", "θ = sinh w", names, forward, np.arcsinh, slope, bend=np.ravel)


def reparametrised_affine(scenario: Scenario, *names: str) -> Scenario:
    """θ = the running sums of w along the last axis, plus ¼. (Kronecker products stay Kronecker products: theorems are kept.)"""

    def forward(w: Array) -> Array:
        return cv.namespace(w).cumulative_sum(w, axis=-1) + 0.25

    def backward(theta: np.ndarray) -> np.ndarray:
        return np.diff(theta - 0.25, axis=-1, prepend=0.0)

    def slope(theta: np.ndarray) -> np.ndarray:
        last = theta.shape[-1]
        return np.kron(np.eye(theta.size // last), np.tri(last))

    return _moved(scenario, "affine-coordinates", "θ = running sums of w, plus ¼", names, forward, backward, slope)


def _moved(
    scenario: Scenario,
    label: str,
    formula: str,
    names: tuple[str, ...],
    forward: Callable[[Array], Array],
    backward: Callable[[np.ndarray], np.ndarray],
    slope: Callable[[np.ndarray], np.ndarray],
    bend: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Scenario:
    """The scenario, whose parameters are a dictionary of arrays, with other coordinates for those that are named.

    Args:
        label: name of the transformation.
        formula: θ of w, in words.
        forward: θ from w, with the Array API.
        backward: w from θ.
        slope: from θ, ∂θ/∂w of its numbers in flat order, square.
        bend: from θ, ∂²θ_i/∂w_i² of its numbers, where coordinates are curved.
    """
    apply, theta = scenario.apply, scenario.params

    def in_coordinates(w: dict[str, Array], x: Array) -> Array:
        return apply({name: forward(part) if name in names else part for name, part in w.items()}, x)

    jacobian, curvature = np.eye(scenario.references.jacobian.shape[2]), np.zeros(scenario.references.jacobian.shape[2])
    start = 0
    for name in sorted(theta):
        part, rows = theta[name], slice(start, start + theta[name].size)
        start = rows.stop
        if name in names:
            jacobian[rows, rows] = slope(part)
            curvature[rows] = 0.0 if bend is None else bend(part)
    return replace(
        scenario,
        name=f"{scenario.name}+{label}",
        summary=f"{scenario.summary}; {' and '.join(names)} in the coordinates {formula}",
        apply=in_coordinates,
        params={name: backward(part) if name in names else part for name, part in theta.items()},
        references=_references(scenario.references, jacobian, curvature),
        layers=tuple(part for layer in scenario.layers for part in _split(layer, names)),
    )


def _split(layer: tuple[str, ...], names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The layer, or its parameters one by one if one of them is computed."""
    return tuple((name,) for name in layer) if set(layer) & set(names) else (layer,)


def _references(references: References, jacobian: np.ndarray, curvature: np.ndarray) -> References:
    """In coordinates with D_ip = ∂θ_i/∂w_p and ∂²θ_i/∂w_i², that vanish or are alone in the second derivatives of θ_i."""

    def square(matrices: np.ndarray) -> np.ndarray:
        return np.einsum("ip,nij,jq->npq", jacobian, matrices, jacobian)

    residual = (references.gradients * curvature)[:, :, None] * np.eye(len(jacobian))
    return replace(
        references,
        jacobian=references.jacobian @ jacobian,
        gradients=references.gradients @ jacobian,
        fishers=square(references.fishers),
        ggns=square(references.ggns),
        hessians=square(references.hessians) + residual,
    )
