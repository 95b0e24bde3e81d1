"""Networks with one hidden layer, their Jacobians and second derivatives written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import curvature as cv

from ..scenario import FISHER_TYPE, Exact, References, Scenario
from .assemble import assemble, reordered
from .output_terms import OutputTerms, bernoulli, categorical

Array = Any

ONE_DATUM = Exact(
    "kfac", FISHER_TYPE, "blocks", "one example: the expectation E[a aᵀ ⊗ g gᵀ] has one term (Martens and Grosse 2015)"
)


def _tanh(h: Array) -> Array:
    return cv.namespace(h).tanh(h)


def _relu(h: Array) -> Array:
    xp = cv.namespace(h)
    return xp.where(h > 0, h, xp.zeros_like(h))


def _mlp(activation: Callable[[Array], Array]) -> Callable[[Any, Array], Array]:
    def apply(params: Any, x: Array) -> Array:
        (w1, b1), (w2, b2) = params
        return activation(x @ w1 + b1) @ w2 + b2

    return apply


def _linear_module(params: Any, x: Array) -> Array:
    """Weights stored (d_out, d_in), in dictionaries: the flat order is bias before weight."""
    first, second = params["first"], params["second"]
    hidden = _relu(x @ cv.namespace(first["weight"]).matrix_transpose(first["weight"]) + first["bias"])
    return hidden @ cv.namespace(second["weight"]).matrix_transpose(second["weight"]) + second["bias"]


def one_hidden_layer(
    first: np.ndarray,
    second: np.ndarray,
    x: np.ndarray,
    activation: str,
    terms: Callable[[np.ndarray], OutputTerms],
) -> References:
    """References of f = (φ((x, 1) A), 1) B in the flat order (A, B), both row-major, biases as last rows.

    With z = (x, 1) A: ∂f_c/∂A_ij = x_i φ'(z_j) B_jc, ∂f_c/∂B_kd = φ_k δ_dc, ∂²f_c/∂A_ij∂A_lj = x_i x_l φ''(z_j) B_jc,
    ∂²f_c/∂A_ij∂B_jd = x_i φ'(z_j) δ_dc, and zero otherwise.
    """
    n, hidden, outputs = len(x), first.shape[1], second.shape[1]
    one = np.ones((n, 1))
    inputs = np.concatenate([x, one], axis=1)
    z = inputs @ first
    if activation == "tanh":
        a = np.tanh(z)
        slope, bend = 1 - a**2, -2 * a * (1 - a**2)
    else:
        a, slope, bend = np.maximum(z, 0), (z > 0).astype(float), np.zeros_like(z)
    a = np.concatenate([a, one], axis=1)
    b, eye, same = second[:hidden], np.eye(outputs), np.eye(hidden)
    left = np.einsum("ni,nj,jc->ncij", inputs, slope, b).reshape(n, outputs, -1)
    right = np.einsum("nk,dc->nckd", a, eye).reshape(n, outputs, -1)
    p, q = left.shape[2], right.shape[2]
    corner = np.einsum("ni,nl,nj,jc,jm->ncijlm", inputs, inputs, bend, b, same).reshape(n, outputs, p, p)
    cross = np.zeros((n, outputs, *first.shape, hidden + 1, outputs))
    cross[:, :, :, :, :hidden, :] = np.einsum("ni,nj,jk,dc->ncijkd", inputs, slope, same, eye)
    cross = cross.reshape(n, outputs, p, q)
    second_derivative = np.zeros((n, outputs, p + q, p + q))
    second_derivative[:, :, :p, :p] = corner
    second_derivative[:, :, :p, p:] = cross
    second_derivative[:, :, p:, :p] = cross.transpose(0, 1, 3, 2)
    jacobian = np.concatenate([left, right], axis=2)
    return assemble(jacobian, terms(a @ second), second_derivative)


def _matrices(rng: np.random.Generator, sizes: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    d, h, c = sizes
    return 0.7 * rng.standard_normal((d + 1, h)), 0.7 * rng.standard_normal((h + 1, c))


def _with_softmax(name: str, summary: str, n: int, activation: str, seed: int, theorems: tuple[Exact, ...]) -> Scenario:
    rng = np.random.default_rng(seed)
    first, second = _matrices(rng, (3, 3, 3))
    x, y = rng.standard_normal((n, 3)), rng.integers(0, 3, n)
    return Scenario(
        name,
        summary,
        _mlp(_tanh if activation == "tanh" else _relu),
        [(first[:-1], first[-1]), (second[:-1], second[-1])],
        cv.Categorical(),
        x,
        y,
        one_hidden_layer(first, second, x, activation, lambda f: categorical(f, y)),
        (("0.0", "0.1"), ("1.0", "1.1")),
        theorems=theorems,
    )


def tanh_network() -> Scenario:
    """A small network with categorical outputs."""
    cannot = Exact("kfac", ("fisher", "ggn"), "blocks", "a and g depend on the example together", holds=False)
    summary = "tanh network with categorical outputs; its Hessian is not its GGN"
    return _with_softmax("tanh-network/categorical", summary, 6, "tanh", 5, (cannot,))


def one_datum(activation: str) -> Scenario:
    """One example: K-FAC is the layer's block exactly."""
    summary = f"one example, {activation} network with categorical outputs: K-FAC is the block of each layer exactly"
    return _with_softmax(f"one-datum/{activation}", summary, 1, activation, 8 if activation == "relu" else 7, (ONE_DATUM,))


def stored_as_rows() -> Scenario:
    """Weights stored (d_out, d_in) and applied as x @ W.T, as PyTorch's Linear does, parameters in dictionaries."""
    rng = np.random.default_rng(9)
    d, h, c = 3, 4, 2
    first, second = _matrices(rng, (d, h, c))
    x, y = rng.standard_normal((6, d)), (rng.random((6, c)) < 0.5).astype(float)
    natural = one_hidden_layer(first, second, x, "relu", lambda f: bernoulli(f, y))
    position = np.arange((d + 1) * h + (h + 1) * c)
    a, b = position[: (d + 1) * h].reshape(d + 1, h), position[(d + 1) * h :].reshape(h + 1, c)
    order = np.concatenate([a[-1], a[:-1].T.ravel(), b[-1], b[:-1].T.ravel()])
    params = {
        name: {"weight": np.ascontiguousarray(m[:-1].T), "bias": m[-1]} for name, m in (("first", first), ("second", second))
    }
    return Scenario(
        "relu-network/weights-as-rows",
        "relu network with two Bernoulli outputs, weights (d_out, d_in) in dictionaries: the flat order is by sorted key",
        _linear_module,
        params,
        cv.Bernoulli(),
        x,
        y,
        reordered(natural, order),
        (("first.weight", "first.bias"), ("second.weight", "second.bias")),
    )
