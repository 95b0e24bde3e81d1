"""The references of scenarios that nobody differentiates by hand: their arithmetic, and the same models in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from curvature_conformance.scenario import Scenario
from curvature_conformance.scenarios import convolutional, networks, shared_weights, taylor, transformers
from curvature_conformance.scenarios.output_terms import categorical
from curvature_conformance.setting import leaves

RNG = np.random.default_rng(0)
H = 1e-30
"""A complex step: its square is nothing beside one, so imaginary parts are derivatives to rounding."""


def _function(x: taylor.Taylor, constant: np.ndarray) -> taylor.Taylor:
    """Every operation of the arithmetic, of (2, 3) variables."""
    matrix = x.reshape(2, 3)
    product = taylor.contract("ij,kj->ik", matrix, taylor.tanh(matrix))
    total = taylor.contract("ij,j->i", product, constant) + 0.3
    rational = taylor.power(taylor.contract("ij,ij->i", matrix, matrix) + 1.0, -0.5)
    return taylor.stack([taylor.exp(total * 0.2), rational - product[:, 1], matrix.sum(1)])


def test_the_arithmetic_by_complex_steps() -> None:
    """Im f(θ + i h e_k) / h = ∂_k f and Im ∂f(θ + i h e_k) / h = ∂_k ∂f."""
    point, constant = RNG.standard_normal(6), RNG.standard_normal(2)
    found = _function(taylor.variables(point), constant)
    np.testing.assert_array_equal(found.second, np.swapaxes(found.second, -1, -2))
    for k in range(6):
        stepped = _function(taylor.variables(point + 1j * H * np.eye(6)[k]), constant)
        np.testing.assert_allclose(found.first[..., k], stepped.value.imag / H, rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(found.second[..., k], stepped.first.imag / H, rtol=1e-13, atol=1e-14)


def test_the_arithmetic_of_a_polynomial_is_exact() -> None:
    """f = x² y: (2 x y, x²) and ((2 y, 2 x), (2 x, 0)), in integers."""
    point = taylor.variables(np.array([3.0, 5.0]))
    x, y = point[0], point[1]
    found = taylor.contract(",->", taylor.contract(",->", x, x), y)
    assert found.value == 45.0
    np.testing.assert_array_equal(found.first, [30.0, 9.0])
    np.testing.assert_array_equal(found.second, [[10.0, 6.0], [6.0, 0.0]])


def test_the_arithmetic_gives_the_derivatives_written_out_by_hand() -> None:
    """A tanh network, whose references ``networks.one_hidden_layer`` has in closed form."""
    first, second, x, y = (
        RNG.standard_normal((4, 3)),
        RNG.standard_normal((4, 2)),
        RNG.standard_normal((5, 3)),
        np.array([0, 1, 1, 0, 1]),
    )
    by_hand = networks.one_hidden_layer(first, second, x, "tanh", lambda f: categorical(f, y))

    def forward(params: Any, example: np.ndarray) -> taylor.Taylor:
        a, b = params
        hidden = taylor.tanh(taylor.contract("i,ij->j", example, a[:3]) + a[3])
        return taylor.contract("j,jc->c", hidden, b[:3]) + b[3]

    found = taylor.derivatives(forward, [first, second], x)
    np.testing.assert_allclose(found.first, by_hand.jacobian, rtol=1e-13, atol=1e-14)
    score = categorical(found.value, y).score
    residual = -np.einsum("nc,ncpq->npq", score, found.second)
    np.testing.assert_allclose(residual, by_hand.hessians - by_hand.ggns, rtol=1e-12, atol=1e-13)


# The models in PyTorch's own modules and functions, differentiated by PyTorch ------------------------


def _cnn(stride: int, groups: int) -> Callable[[Any, Any], Any]:
    def model(p: Any, x: Any) -> Any:
        h = torch.tanh(F.conv2d(x, p["first"]["weight"], p["first"]["bias"], stride=stride, padding=1))
        h = torch.tanh(F.conv2d(h, p["second"]["weight"], p["second"]["bias"], stride=2, groups=groups))
        return F.linear(h.mean(dim=(2, 3)), p["head"]["weight"], p["head"]["bias"])

    return model


def _heads(x: Any) -> Any:
    return x.unflatten(-1, (2, -1)).transpose(-2, -3)


def _attend(q: Any, k: Any, v: Any) -> Any:
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        y = F.scaled_dot_product_attention(_heads(q), _heads(k), _heads(v), is_causal=True)
    return y.transpose(-2, -3).flatten(-2)


def _norm(p: Any, x: Any) -> Any:
    return F.layer_norm(x, tuple(x.shape[-1:]), p["weight"], p["bias"])


def _block(p: Any, tokens: Any) -> Any:
    h = F.embedding(tokens, p["embedding"]["weight"]) + p["positions"]
    q, k, v = F.linear(_norm(p["norm1"], h), p["attention"]["qkv"]["weight"]).chunk(3, dim=-1)
    h = h + F.linear(_attend(q, k, v), p["attention"]["out"]["weight"], p["attention"]["out"]["bias"])
    inner = F.gelu(F.linear(_norm(p["norm2"], h), p["mlp"][0]["weight"], p["mlp"][0]["bias"]), approximate="tanh")
    h = h + F.linear(inner, p["mlp"][1]["weight"], p["mlp"][1]["bias"])
    return F.linear(h.mean(dim=1), p["head"]["weight"], p["head"]["bias"])


def _tied(p: Any, tokens: Any) -> Any:
    h = F.embedding(tokens, p["embedding"]["weight"]) + p["positions"]
    q, k, v = (F.linear(h, p["attention"][name]["weight"]) for name in ("query", "key", "value"))
    h = h + F.linear(_attend(q, k, v), p["attention"]["out"]["weight"])
    return F.linear(_norm(p["norm"], h)[:, -1], p["embedding"]["weight"])


def _twice(p: Any, x: Any) -> Any:
    for _ in range(2):
        x = torch.tanh(F.linear(x, p["shared"]["weight"], p["shared"]["bias"]))
    return F.linear(x, p["head"]["weight"], p["head"]["bias"])


def _scale(p: Any, x: Any) -> Any:
    return torch.tanh(_norm(p["norm"], x)).mean(dim=1)


MODELS: list[tuple[Callable[[], Scenario], Callable[[Any, Any], Any]]] = [
    (convolutional.plain, _cnn(2, 1)),
    (convolutional.grouped, _cnn(1, 2)),
    (transformers.block, _block),
    (transformers.tied, _tied),
    (shared_weights.applied_twice, _twice),
    (shared_weights.scale_and_shift, _scale),
]


def _unflatten(vector: Any, tree: Any) -> Any:
    """The tree of a flat vector, dictionaries by sorted key."""
    start = 0

    def take(part: Any) -> Any:
        nonlocal start
        if isinstance(part, dict):
            return {key: take(part[key]) for key in sorted(part)}
        if isinstance(part, list):
            return [take(entry) for entry in part]
        start += part.size
        return vector[start - part.size : start].reshape(part.shape)

    return take(tree)


@pytest.mark.parametrize(("make", "model"), MODELS, ids=[make.__name__ for make, _ in MODELS])
def test_the_references_are_those_of_torch(make: Callable[[], Scenario], model: Callable[[Any, Any], Any]) -> None:
    scenario = make()
    references = scenario.references
    point = torch.from_numpy(np.concatenate([np.ravel(leaf) for leaf in leaves(scenario.params)]))
    x, y = torch.from_numpy(scenario.x), torch.from_numpy(scenario.y)

    def outputs(theta: Any) -> Any:
        return model(_unflatten(theta, scenario.params), x)

    def loss(theta: Any) -> Any:
        return F.cross_entropy(outputs(theta), y)

    np.testing.assert_allclose(references.jacobian, torch.func.jacrev(outputs)(point).numpy(), rtol=1e-12, atol=1e-13)
    assert references.loss == pytest.approx(float(loss(point)), rel=1e-13)
    np.testing.assert_allclose(references.gradient, torch.func.grad(loss)(point).numpy(), rtol=1e-12, atol=1e-13)
    # Not by jacrev of jacrev, which is wrong for layer_norm (torch 2.13).
    hessian = torch.autograd.functional.hessian(loss, point).numpy()
    np.testing.assert_allclose(references.hessian, hessian, rtol=1e-11, atol=1e-13)
    gap = np.linalg.norm(references.hessian - references.ggn) / np.linalg.norm(references.hessian)
    assert gap > 1e-2, "a scenario whose Hessian is its GGN would show nothing of the second derivatives"


@pytest.mark.parametrize("make", [make for make, _ in MODELS], ids=[make.__name__ for make, _ in MODELS])
def test_the_layers_are_a_partition_of_the_parameters(make: Callable[[], Scenario]) -> None:
    scenario = make()
    named = sorted(name for layer in scenario.layers for name in layer)
    found: list[str] = []

    def walk(tree: Any, path: str) -> None:
        entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
        if entries is None:
            found.append(path)
            return
        for key, part in entries:
            walk(part, f"{path}.{key}" if path else str(key))

    walk(scenario.params, "")
    assert named == sorted(found)
