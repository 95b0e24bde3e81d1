"""The references of scenarios that nobody differentiates by hand: their arithmetic, and the same models in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from curvature_conformance.scenario import Scenario
from curvature_conformance.scenarios import (
    conditioning,
    convolutional,
    networks,
    other_parameters,
    regressions,
    shared_weights,
    taylor,
    transformers,
)
from curvature_conformance.scenarios.coordinates import reparametrised, reparametrised_affine
from curvature_conformance.scenarios.output_terms import categorical
from curvature_conformance.scenarios.transformations import permuted, weighted
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


# Likelihoods and conditioning of linear models, by torch.distributions -------------------------------


def _gaussian(f: Any) -> Any:
    return torch.distributions.Normal(f, 0.25**0.5)


def _heteroscedastic(f: Any) -> Any:
    return torch.distributions.Normal(f[..., :1], (0.5 * f[..., 1:]).exp())


def _exponential(f: Any) -> Any:
    return torch.distributions.Exponential(f.exp())


def _log_gamma(k: Any) -> Any:
    # torch.lgamma has a second derivative of nine digits. Stirling's series at k + 20 to its fourth term is exact to 1e-16.
    z = k + 20
    series = 1 / (12 * z) - 1 / (360 * z**3) + 1 / (1260 * z**5) - 1 / (1680 * z**7)
    return (z - 0.5) * z.log() - z + 0.5 * np.log(2 * np.pi) + series - sum((k + j).log() for j in range(20))


def _gamma(f: Any, y: Any) -> Any:
    (k, r), log_y = f.exp(), y[0].log()
    return k * f[1] + (k - 1) * log_y - r * y[0] - _log_gamma(k)


def _gamma_divergence(f0: Any, f: Any) -> Any:
    """All of E[-log p(y | f)] that depends on f, with E[log y] = ψ(k₀) - log r₀ and E[y] = k₀/r₀."""
    (k, r), (k0, r0) = f.exp(), f0.exp()
    return _log_gamma(k) - k * f[1] - k * (torch.digamma(k0) - f0[1]) + r * k0 / r0


def _bernoulli(f: Any) -> Any:
    return torch.distributions.Bernoulli(logits=f)


def _log_prob(distribution: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda f, y: distribution(f).log_prob(y).sum()


def _divergence(distribution: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """KL(p(· | f₀) || p(· | f)), whose Hessian in f at f₀ is the Fisher information."""
    return lambda f0, f: torch.distributions.kl_divergence(distribution(f0), distribution(f)).sum()


def _von_mises(f: Any, y: Any) -> Any:
    # torch.distributions.VonMises has the Bessel function to seven digits only.
    kappa = f.norm()
    return f[0] * y[0].cos() + f[1] * y[0].sin() - kappa - torch.log(2 * torch.pi * torch.special.i0e(kappa))


LINEAR: list[tuple[Callable[[], Scenario], Callable[[Any, Any], Any], Callable[[Any, Any], Any] | None]] = [
    (regressions.exponential_regression, _log_prob(_exponential), _divergence(_exponential)),
    (regressions.gamma_regression, _gamma, _gamma_divergence),
    (regressions.heteroscedastic_regression, _log_prob(_heteroscedastic), _divergence(_heteroscedastic)),
    (regressions.von_mises_regression, _von_mises, None),
    (conditioning.badly_scaled, _log_prob(_bernoulli), _divergence(_bernoulli)),
    (conditioning.rank_deficient, _log_prob(_gaussian), _divergence(_gaussian)),
    (conditioning.near_singular, _log_prob(_gaussian), _divergence(_gaussian)),
]
"""(scenario, log p(y | f) of one example, KL(p(· | f₀) || p(· | f)) or None where the Hessian of -log p is the Fisher)."""


@pytest.mark.parametrize(("make", "log_prob", "divergence"), LINEAR, ids=[make.__name__ for make, _, _ in LINEAR])
def test_the_references_of_linear_models_are_those_of_torch(
    make: Callable[[], Scenario],
    log_prob: Callable[[Any, Any], Any],
    divergence: Callable[[Any, Any], Any] | None,
) -> None:
    scenario = make()
    references = scenario.references
    point = torch.from_numpy(np.concatenate([np.ravel(leaf) for leaf in leaves(scenario.params)]))
    x, y = torch.from_numpy(scenario.x), torch.from_numpy(scenario.y).reshape(scenario.size, -1)

    def outputs(theta: Any, n: int) -> Any:
        entries = _unflatten(theta, scenario.params)
        return (x[n] @ entries["weight"]).reshape(1) if isinstance(entries, dict) else x[n] @ entries[0] + entries[1]

    hessian = torch.autograd.functional.hessian
    for n in range(scenario.size):
        f = outputs(point, n)

        def loss(theta: Any, n: int = n) -> Any:
            return -log_prob(outputs(theta, n), y[n])

        jacobian = torch.func.jacrev(lambda theta, n=n: outputs(theta, n))(point)
        expected = hessian(loss, point)
        fisher = (
            hessian(lambda g, n=n: -log_prob(g, y[n]), f) if divergence is None else hessian(lambda g, f=f: divergence(f, g), f)
        )
        np.testing.assert_allclose(references.jacobian[n], jacobian, rtol=1e-12, atol=1e-14)
        assert references.losses[n] == pytest.approx(float(loss(point)), rel=1e-12, abs=1e-13)
        scale = float(expected.abs().max())
        gradient = torch.func.grad(loss)(point)
        np.testing.assert_allclose(references.gradients[n], gradient, rtol=1e-11, atol=1e-13 * float(gradient.abs().max()))
        np.testing.assert_allclose(references.output_fisher[n], fisher, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(references.fishers[n], jacobian.T @ fisher @ jacobian, rtol=1e-11, atol=1e-12 * scale)
        for found in (references.ggns[n], references.hessians[n]):  # the model is linear
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12 * scale)


@pytest.mark.parametrize(
    "make", [regressions.exponential_regression, regressions.gamma_regression], ids=lambda make: make.__name__
)
def test_where_the_outputs_are_not_natural_the_ggn_is_not_the_fisher(make: Callable[[], Scenario]) -> None:
    references = make().references
    assert np.linalg.norm(references.ggn - references.fisher) > 0.1 * np.linalg.norm(references.fisher)


def test_the_conditions_are_what_the_summaries_say() -> None:
    scaled, deficient, near = (
        np.linalg.eigvalsh(make().references.fisher)
        for make in (conditioning.badly_scaled, conditioning.rank_deficient, conditioning.near_singular)
    )
    assert scaled[-1] / scaled[0] > 1e7
    assert np.sum(deficient > 1e-12 * deficient[-1]) <= 6
    assert 1e-9 < near[0] / near[-1] < 1e-8


# Transformations -------------------------------------------------------------------------------------


def test_another_order_of_the_examples_moves_each_and_changes_no_sum() -> None:
    plain, order = networks.tanh_network(), np.array([3, 0, 5, 1, 4, 2])
    scenario = weighted(plain, np.array([0.5, 2.0, 0.0, 1.0, 1.5, 0.25]))
    found = permuted(scenario, order)
    assert found.weights is not None
    assert found.x is not None
    assert scenario.weights is not None
    assert scenario.x is not None
    np.testing.assert_array_equal(found.weights[1], scenario.weights[0])
    np.testing.assert_array_equal(found.x[2], scenario.x[5])
    assert found.y[0] == scenario.y[3]
    assert found.references.losses[4] == scenario.references.losses[4]
    assert found.references.share[0] == scenario.references.share[3]
    assert found.references.loss == pytest.approx(scenario.references.loss, rel=1e-15)
    for name in ("fisher", "ggn", "hessian", "empirical_fisher"):
        np.testing.assert_allclose(getattr(found.references, name), getattr(scenario.references, name), rtol=1e-14, atol=1e-16)


def test_an_order_is_of_all_examples_in_one_batch() -> None:
    with pytest.raises(ValueError, match="no order of 6 examples"):
        permuted(networks.tanh_network(), np.array([0, 1, 2, 3, 4, 4]))


def _scaled(p: Any, x: Any) -> Any:
    return (x * p["scale"]) @ p["weight"]


COORDINATES: dict[str, tuple[Callable[..., Scenario], tuple[str, ...], Callable[[Any], Any]]] = {
    "sinh": (reparametrised, ("scale",), torch.sinh),
    "sinh of all": (reparametrised, ("scale", "weight"), torch.sinh),
    "running sums": (reparametrised_affine, ("scale", "weight"), lambda w: w.cumsum(-1) + 0.25),
    "running sums of one": (reparametrised_affine, ("weight",), lambda w: w.cumsum(-1) + 0.25),
}


@pytest.mark.parametrize("name", COORDINATES)
def test_the_references_in_other_coordinates_are_those_of_torch(name: str) -> None:
    transform, names, forward = COORDINATES[name]
    plain = other_parameters.elementwise_scale()
    scenario = transform(plain, *names)
    references = scenario.references
    point = torch.from_numpy(np.concatenate([np.ravel(leaf) for leaf in leaves(scenario.params)]))
    x, y = torch.from_numpy(scenario.x), torch.from_numpy(scenario.y)

    def outputs(w: Any) -> Any:
        tree = _unflatten(w, scenario.params)
        return _scaled({key: forward(part) if key in names else part for key, part in tree.items()}, x)

    def loss(w: Any) -> Any:
        return -torch.distributions.Normal(outputs(w), 1.0).log_prob(y).sum(1).mean()

    jacobian = torch.func.jacrev(outputs)(point).numpy()
    hessian = torch.autograd.functional.hessian(loss, point).numpy()
    np.testing.assert_allclose(references.jacobian, jacobian, rtol=1e-12, atol=1e-13)
    assert references.loss == pytest.approx(plain.references.loss, rel=1e-15)
    assert references.loss == pytest.approx(float(loss(point)), rel=1e-13)
    np.testing.assert_allclose(references.gradient, torch.func.grad(loss)(point).numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(references.hessian, hessian, rtol=1e-11, atol=1e-13)
    gauss_newton = np.einsum("ncp,ncq->pq", jacobian, jacobian) / scenario.size
    for found in (references.fisher, references.ggn):
        np.testing.assert_allclose(found, gauss_newton, rtol=1e-11, atol=1e-13)
    assert scenario.layers == (("scale",), ("weight",))


def test_a_layer_of_which_one_parameter_is_computed_is_no_layer() -> None:
    scenario = shared_weights.scale_and_shift()
    flat = replace(scenario, params=scenario.params["norm"], layers=(("weight", "bias"),))
    assert reparametrised(flat, "weight").layers == (("weight",), ("bias",))
