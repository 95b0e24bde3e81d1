"""Derivatives against closed forms, up to third order."""

from __future__ import annotations

from typing import Any

import numpy as np

import curvature as cv

from ..checklist import CONTRACT, check
from ..failures import expect_close
from ..setting import Setting

Tree = Any

# φ(θ) = Σ_i exp(c_i · θ): ∇φ = Cᵀ e, ∇²φ = Cᵀ diag(e) C, D³φ(u, v) = Cᵀ (e ∘ Cu ∘ Cv) with e = exp(Cθ).
_C = np.array([[0.3, -0.5, 0.2], [0.7, 0.1, -0.4], [-0.2, 0.6, 0.5], [0.1, 0.2, 0.3]])
_THETA = np.array([0.4, -0.3, 0.8])
_U, _V = np.array([0.5, -1.0, 0.25]), np.array([-0.3, 0.7, 1.1])
_E = np.exp(_C @ _THETA)
_FORMULA = "φ(θ) = Σ_i exp(c_i · θ), whose derivatives are closed forms"


def phi_on(setting: Setting) -> Any:
    """φ, a number, as a function on the backend."""
    c = setting.asarray(_C)

    def phi(theta: Any) -> Any:
        xp = cv.namespace(theta["θ"])
        return xp.sum(xp.exp(xp.matmul(c, theta["θ"])))

    return phi


def at(setting: Setting, values: np.ndarray) -> Tree:
    """A point (or a direction) of φ."""
    return {"θ": setting.asarray(values)}


# f(w, b) = tanh(x w + b): ∂f = (1 - f²) ∘ (x ẇ + ḃ).
_X = np.array([[0.2, -0.4, 0.7], [1.0, 0.3, -0.6], [-0.8, 0.5, 0.1], [0.4, 0.9, 0.2]])
_PARAMS = {"b": np.array([0.1, -0.2]), "w": np.array([[0.5, -0.3], [0.2, 0.8], [-0.7, 0.4]])}
_TANGENT = {"b": np.array([0.3, 1.2]), "w": np.array([[1.0, 0.2], [-0.4, 0.6], [0.5, -0.9]])}
_OUTPUT = np.tanh(_X @ _PARAMS["w"] + _PARAMS["b"])
_SLOPE = 1 - _OUTPUT**2
_COTANGENT = np.array([[0.6, -0.1], [0.2, 0.9], [-0.5, 0.3], [0.8, -0.7]])
_PUSHED = _SLOPE * (_X @ _TANGENT["w"] + _TANGENT["b"])
_PULLED = {"b": (_SLOPE * _COTANGENT).sum(axis=0), "w": _X.T @ (_SLOPE * _COTANGENT)}
_LAYER = "f(w, b) = tanh(x w + b): J(ẇ, ḃ) = (1 - f²) ∘ (x ẇ + ḃ), Jᵀu = (xᵀ((1 - f²) ∘ u), Σ_n (1 - f_n²) ∘ u_n)"


def _layer(setting: Setting) -> Any:
    x = setting.asarray(_X)

    def layer(params: Tree) -> Any:
        # Not x @ w: a strict library refuses the traced right operand instead of leaving the product to it.
        xp = cv.namespace(params["w"])
        return xp.tanh(xp.matmul(x, params["w"]) + params["b"])

    return layer


def _expect_tree(setting: Setting, found: Tree, expected: dict[str, np.ndarray], what: str, causes: str) -> None:
    for name, values in expected.items():
        expect_close(setting, found[name], values, f"{what}, parameter {name!r}", formula=_LAYER, causes=causes, facts={"N": 4})


@check("backend", "derivatives", capability="vjp", source="Griewank and Walther 2008, chapter 3")
def vjp_is_the_transposed_jacobian(setting: Setting) -> None:
    """vjp gives f and Jᵀu, and its pull may be called again and with other cotangents."""
    params = setting.tree(_PARAMS)
    value, pull = setting.backend.vjp(_layer(setting), params)
    expect_close(setting, value, _OUTPUT, "f of vjp", formula=_LAYER)
    causes = "the wrong sign, a cotangent that is summed once too often, residuals freed after the first call"
    _expect_tree(setting, pull(setting.asarray(_COTANGENT)), _PULLED, "pull(u) of vjp", causes)
    twice = {name: 2 * values for name, values in _PULLED.items()}
    _expect_tree(setting, pull(setting.asarray(2 * _COTANGENT)), twice, "pull(2u), the second call", causes)


@check("backend", "derivatives", capability="jvp", source="Griewank and Walther 2008, chapter 3")
def jvp_is_the_jacobian(setting: Setting) -> None:
    """jvp gives f and Jv."""
    value, pushed = setting.backend.jvp(_layer(setting), setting.tree(_PARAMS), setting.tree(_TANGENT))
    expect_close(setting, value, _OUTPUT, "f of jvp", formula=_LAYER)
    expect_close(setting, pushed, _PUSHED, "Jv of jvp", formula=_LAYER, causes="a parameter whose tangent is dropped")


@check("backend", "derivatives", capability="linearize", source="Griewank and Walther 2008, chapter 3")
def linearize_can_be_applied_again(setting: Setting) -> None:
    """linearize gives f, push and pull, each right the first, second and third time, in any order."""
    value, push, pull = setting.backend.linearize(_layer(setting), setting.tree(_PARAMS))
    expect_close(setting, value, _OUTPUT, "f of linearize", formula=_LAYER)
    causes = "residuals that the first application consumes, a result that is cached whatever the argument"
    for factor in (1.0, -2.0, 0.5):
        tangent = setting.tree({name: factor * values for name, values in _TANGENT.items()})
        expect_close(setting, push(tangent), factor * _PUSHED, f"push({factor} v) of linearize", formula=_LAYER, causes=causes)
        expected = {name: factor * values for name, values in _PULLED.items()}
        _expect_tree(setting, pull(setting.asarray(factor * _COTANGENT)), expected, f"pull({factor} u) of linearize", causes)


@check("backend", "derivatives", capability="linearize", source="Griewank and Walther 2008, chapter 3")
def jvp_and_pull_agree(setting: Setting) -> None:
    """jvp_and_pull gives f, Jv and Jᵀu from one evaluation."""
    value, pushed, pull = setting.backend.jvp_and_pull(_layer(setting), setting.tree(_PARAMS), setting.tree(_TANGENT))
    expect_close(setting, value, _OUTPUT, "f of jvp_and_pull", formula=_LAYER)
    expect_close(setting, pushed, _PUSHED, "Jv of jvp_and_pull", formula=_LAYER)
    _expect_tree(setting, pull(setting.asarray(_COTANGENT)), _PULLED, "pull(u) of jvp_and_pull", "a factor in one of the two")


@check("backend", "derivatives", capability=("linearize", "jvp", "vjp"), source="Griewank and Walther 2008, chapter 3")
def push_and_pull_are_adjoint(setting: Setting) -> None:
    """⟨u, Jv⟩ = ⟨Jᵀu, v⟩ for the push and the pull of linearize, jvp and vjp."""
    be, params, tangent = setting.backend, setting.tree(_PARAMS), setting.tree(_TANGENT)
    cotangent = setting.asarray(_COTANGENT)
    _, push, pull = be.linearize(_layer(setting), params)
    pairs = {
        "linearize": (push(tangent), pull(cotangent)),
        "jvp and vjp": (be.jvp(_layer(setting), params, tangent)[1], be.vjp(_layer(setting), params)[1](cotangent)),
    }
    for label, (pushed, pulled) in pairs.items():
        left = setting.xp.sum(cotangent * pushed)
        right = sum(float(np.sum(setting.numpy(pulled[name]) * _TANGENT[name])) for name in _TANGENT)
        expect_close(
            setting,
            left,
            right,
            f"⟨u, Jv⟩ by {label}",
            formula="⟨Jᵀu, v⟩",
            causes="the two differentiate different functions",
            tolerance=10,
        )


@check("backend", "derivatives", capability="vjp", source="Griewank and Walther 2008, chapter 3")
def value_and_gradient_of_a_number(setting: Setting) -> None:
    """value_and_gradient gives φ and ∇φ = Cᵀ exp(Cθ)."""
    value, gradient = setting.backend.value_and_gradient(phi_on(setting), at(setting, _THETA))
    expect_close(setting, value, _E.sum(), "φ of value_and_gradient", formula=_FORMULA)
    expect_close(
        setting, gradient["θ"], _C.T @ _E, "∇φ of value_and_gradient", formula=_FORMULA, causes="the wrong sign, a factor"
    )


@check("backend", "derivatives", capability="hvp", source="Pearlmutter 1994")
def hessian_vector_product(setting: Setting) -> None:
    """hvp gives ∇²φ v = Cᵀ diag(exp(Cθ)) C v."""
    found = setting.backend.hvp(phi_on(setting), at(setting, _THETA), at(setting, _U))
    expected = _C.T @ (_E * (_C @ _U))
    expect_close(
        setting,
        found["θ"],
        expected,
        "∇²φ u of hvp",
        formula=_FORMULA,
        causes="the Hessian of another function (½‖∇φ‖², φ²), a Gauss-Newton product instead, a factor 2",
    )


@check("backend", "derivatives", capability=("hvp", "jvp"), source="Pearlmutter 1994; Griewank, Utke and Walther 2000")
def third_derivative(setting: Setting) -> None:
    """jvp through hvp gives D³φ(u, v) = Cᵀ (exp(Cθ) ∘ Cu ∘ Cv): derivatives nest."""
    be, phi, u = setting.backend, phi_on(setting), at(setting, _U)
    _, found = be.jvp(lambda theta: be.hvp(phi, theta, u)["θ"], at(setting, _THETA), at(setting, _V))
    expected = _C.T @ (_E * (_C @ _U) * (_C @ _V))
    expect_close(
        setting, found, expected, "d/dε hvp(θ + εv, u)", formula=_FORMULA, causes="inner results cut off from outer derivatives"
    )


@check("backend", "derivatives", capability=("vjp", "jvp", "linearize"), source=CONTRACT)
def derivatives_change_nothing(setting: Setting) -> None:
    """Parameters, tangents and cotangents are what they were after every kind of derivative."""
    be, params, tangent = setting.backend, setting.tree(_PARAMS), setting.tree(_TANGENT)
    cotangent = setting.asarray(_COTANGENT)
    be.vjp(_layer(setting), params)[1](cotangent)
    be.jvp(_layer(setting), params, tangent)
    _, push, pull = be.linearize(_layer(setting), params)
    push(tangent), pull(cotangent)
    be.jvp_and_pull(_layer(setting), params, tangent)[2](cotangent)
    for name in _PARAMS:
        expect_close(
            setting,
            params[name],
            _PARAMS[name],
            f"parameter {name!r} afterwards",
            formula="as it was",
            causes="an in-place write",
        )
        expect_close(
            setting,
            tangent[name],
            _TANGENT[name],
            f"tangent {name!r} afterwards",
            formula="as it was",
            causes="an in-place write",
        )
    expect_close(setting, cotangent, _COTANGENT, "the cotangent afterwards", formula="as it was", causes="an in-place write")


@check("backend", "derivatives", capability="vmap", source=CONTRACT)
def vmap_maps_over_the_first_axis(setting: Setting) -> None:
    """vmap(f) stacks f of every slice, and in_axes=(0, None) holds the second argument fast."""
    a, b = setting.normal(4, 3, seed=8), setting.normal(3, seed=9)

    def f(row: Any, shift: Any) -> Any:
        return row * shift + cv.namespace(row).sum(row)

    found = setting.backend.vmap(f, in_axes=(0, None))(setting.asarray(a), setting.asarray(b))
    expect_close(
        setting,
        found,
        a * b + a.sum(axis=1, keepdims=True),
        "vmap(f, in_axes=(0, None))(A, b)",
        formula="f(A_i, b) stacked",
        causes="in_axes ignored",
    )
    square = setting.normal(3, 3, seed=10)
    found = setting.backend.vmap(lambda row: row * cv.namespace(row).sum(row))(setting.asarray(square))
    expect_close(
        setting,
        found,
        square * square.sum(axis=1, keepdims=True),
        "vmap(f)(A)",
        formula="f(A_i) stacked",
        causes="the last axis mapped",
    )


@check("backend", "derivatives", capability="jit", source=CONTRACT)
def jit_changes_no_value(setting: Setting) -> None:
    """jit(f) gives what f gives, the first and the second time."""
    compiled = setting.backend.jit(_layer(setting))
    for _ in range(2):
        expect_close(setting, compiled(setting.tree(_PARAMS)), _OUTPUT, "jit(f)(params)", formula=_LAYER)
