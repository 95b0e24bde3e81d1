"""Derivatives of the functions that models are written with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import curvature as cv

from ..checklist import check
from ..failures import expect_close
from ..setting import Setting

_X = np.array([0.3, 1.7, 0.9, 2.4])

Function = Callable[[Any, Any], Any]

# Name: (function of a namespace and an array, derivative on the host); elementwise, so the Jacobian is diagonal.
_ELEMENTWISE: dict[str, tuple[Function, Callable[[np.ndarray], np.ndarray]]] = {
    "exp": (lambda xp, x: xp.exp(x), np.exp),
    "log": (lambda xp, x: xp.log(x), lambda x: 1 / x),
    "sqrt": (lambda xp, x: xp.sqrt(x), lambda x: 0.5 / np.sqrt(x)),
    "sin": (lambda xp, x: xp.sin(x), np.cos),
    "cos": (lambda xp, x: xp.cos(x), lambda x: -np.sin(x)),
    "tanh": (lambda xp, x: xp.tanh(x), lambda x: 1 - np.tanh(x) ** 2),
    "abs": (lambda xp, x: xp.abs(x - 1.0), lambda x: np.sign(x - 1.0)),
    "x³": (lambda xp, x: x**3, lambda x: 3 * x**2),
    "1/x": (lambda xp, x: 1.0 / x, lambda x: -1 / x**2),
    "logaddexp(x, 0)": (lambda xp, x: xp.logaddexp(x, xp.zeros_like(x)), lambda x: 1 / (1 + np.exp(-x))),
    "where(x > 1, x, 0)": (lambda xp, x: xp.where(x > 1.0, x, xp.zeros_like(x)), lambda x: (x > 1).astype(float)),
    "clip(x, 1, 2)": (lambda xp, x: xp.clip(x, 1.0, 2.0), lambda x: ((x > 1) & (x < 2)).astype(float)),
    "x · sum(x) - x · Σ": (lambda xp, x: x * xp.sum(x) - x * float(_X.sum()), lambda x: x),
}


def _of_arrays(function: Function) -> Callable[[Any], Any]:
    return lambda x: function(cv.namespace(x), x)


@check("backend", "derivatives", capability="linearize", source="Griewank and Walther 2008, chapter 3")
def elementary_functions(setting: Setting) -> None:
    """The forward and reverse derivatives of elementary functions are their closed forms."""
    seed = np.array([0.7, -1.1, 0.4, 0.9])
    for name, (function, derivative) in _ELEMENTWISE.items():
        _, push, pull = setting.backend.linearize(_of_arrays(function), setting.asarray(_X))
        if name.startswith("x · sum"):  # J = x 1ᵀ at this point: the one that is not diagonal
            forward, backward = _X * seed.sum(), np.full(4, _X @ seed)
        else:
            forward = backward = derivative(_X) * seed
        formula = f"the derivative of {name} in closed form"
        expect_close(setting, push(setting.asarray(seed)), forward, f"Jv of {name}", formula=formula)
        expect_close(setting, pull(setting.asarray(seed)), backward, f"Jᵀu of {name}", formula=formula)


@check("backend", "derivatives", capability="linearize", source="Griewank and Walther 2008, chapter 3")
def shapes_and_selections(setting: Setting) -> None:
    """Derivatives pass through reshape, transpose, stack, concat, slices, sums over axes and broadcasting."""
    matrix, seed = setting.normal(2, 3, seed=11), setting.normal(2, 3, seed=12)

    def function(x: Any) -> Any:
        xp = cv.namespace(x)
        turned = xp.permute_dims(xp.reshape(x, (3, 2)), (1, 0))
        joined = xp.concat([turned, x], axis=0)
        stacked = xp.stack([joined[0, :], joined[3, :] * 2.0])
        return stacked + xp.sum(x, axis=0, keepdims=True) + xp.mean(x) + xp.broadcast_to(x[1, :], (2, 3))

    def on_host(x: np.ndarray) -> np.ndarray:
        joined = np.concatenate([x.reshape(3, 2).T, x])
        return np.stack([joined[0], 2 * joined[3]]) + x.sum(0, keepdims=True) + x.mean() + np.broadcast_to(x[1], (2, 3))

    # Linear, so the function of a tangent is its derivative, and the matrix of it transposed the pull.
    jacobian = np.stack([on_host(unit.reshape(2, 3)).ravel() for unit in np.eye(6)], axis=1)
    _, push, pull = setting.backend.linearize(function, setting.asarray(matrix))
    formula = "the function is linear, so its derivative is itself"
    expect_close(setting, push(setting.asarray(seed)), on_host(seed), "Jv", formula=formula)
    expect_close(setting, pull(setting.asarray(seed)), (jacobian.T @ seed.ravel()).reshape(2, 3), "Jᵀu", formula=formula)
