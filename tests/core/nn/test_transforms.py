"""Layers inside the transforms of ``torch.func`` and of JAX, and under its compiler."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import curvature as cv
from curvature import nn

RNG = np.random.default_rng(4)
D = 4


def _affine(d_out: int, d_in: int) -> dict[str, np.ndarray]:
    return {"weight": RNG.standard_normal((d_out, d_in)), "bias": RNG.standard_normal(d_out)}


PARAMS = {
    "attention": {"qkv": _affine(3 * D, D), "out": _affine(D, D)},
    "kernel": {"weight": RNG.standard_normal((2, 1, 2, 2)), "bias": RNG.standard_normal(2)},
    "mlp": [_affine(3, D), _affine(D, 3)],
    "norm": {"weight": RNG.standard_normal(D), "bias": RNG.standard_normal(D)},
    "table": RNG.standard_normal((5, D)),
}
TOKENS = RNG.integers(0, 5, (6, 3))


def network(params: Any, tokens: Any) -> Any:
    """Every layer: (N, D · 2) outputs."""
    h = nn.embedding(tokens, params["table"])
    h = h + nn.self_attention(
        params["attention"], nn.layer_norm(h, params["norm"]["weight"], params["norm"]["bias"]), heads=2, causal=True
    )
    h = h + nn.mlp(params["mlp"], h, nn.gelu)
    xp = cv.namespace(h)
    image = nn.conv2d(xp.expand_dims(h, axis=1), params["kernel"]["weight"], params["kernel"]["bias"], padding="same")
    return xp.reshape(nn.log_softmax(xp.mean(nn.relu(image), axis=2)), (h.shape[0], -1))


def _tree_map(function: Any, tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _tree_map(function, part) for key, part in tree.items()}
    return [_tree_map(function, part) for part in tree] if isinstance(tree, list) else function(tree)


@pytest.fixture
def reference() -> tuple[np.ndarray, Any]:
    """Values and the Jacobian's product with a fixed cotangent, on NumPy by ``curvature.autodiff``."""
    be = cv.backend("numpy")
    value, pull = be.vjp(lambda p: network(p, TOKENS), PARAMS)
    return value, pull(np.cos(np.arange(value.size)).reshape(value.shape))


def _assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        for key in expected:
            _assert_same(found[key], expected[key])
    elif isinstance(expected, list):
        for a, b in zip(found, expected, strict=True):
            _assert_same(a, b)
    else:
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("with_kernels", [True, False])
def test_torch_func(reference: Any, with_kernels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from curvature_torch.kernels import KERNELS

    monkeypatch.setattr(type(cv.backend("torch")), "kernels", KERNELS if with_kernels else {})
    value, gradient = reference
    params, tokens = _tree_map(torch.from_numpy, PARAMS), torch.from_numpy(TOKENS)
    u = torch.cos(torch.arange(value.size, dtype=torch.float64)).reshape(value.shape)

    def each(p: Any) -> Any:  # one example at a time, mapped
        return torch.func.vmap(lambda one: network(p, one[None])[0])(tokens)

    _assert_same(each(params), value)
    _assert_same(_tree_map(lambda t: t.numpy(), torch.func.grad(lambda p: (each(p) * u).sum())(params)), gradient)
    tangent = _tree_map(torch.ones_like, params)
    _, pushed = torch.func.jvp(lambda p: network(p, tokens), (params,), (tangent,))
    flat: list[float] = []
    _tree_map(lambda g: flat.append(float(np.sum(g))), gradient)
    np.testing.assert_allclose(float((pushed * u).sum()), sum(flat), rtol=1e-9)


@pytest.mark.parametrize("with_kernels", [True, False])
@pytest.mark.parametrize("outer", ["jacrev", "jacfwd"])
def test_a_hessian_by_mapped_derivatives_of_torch_func(outer: str, with_kernels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Σ f² in some of the parameters: the derivative of a mapped derivative, which a fused kernel may get wrong."""
    from curvature_torch.kernels import KERNELS

    monkeypatch.setattr(type(cv.backend("torch")), "kernels", KERNELS if with_kernels else {})
    sizes = (8 + 2, D + D, 5 * D)  # kernel, norm, table

    def merged(vector: Any, params: Any) -> Any:
        kernel, norm, table = (vector[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(3))
        xp = cv.namespace(vector)
        return params | {
            "kernel": {"weight": xp.reshape(kernel[:8], (2, 1, 2, 2)), "bias": kernel[8:]},
            "norm": {"weight": norm[:D], "bias": norm[D:]},
            "table": xp.reshape(table, (5, D)),
        }

    def loss(vector: Any, params: Any, tokens: Any) -> Any:
        y = network(merged(vector, params), tokens)
        return cv.namespace(y).sum(y * y)

    kernel, norm = PARAMS["kernel"], PARAMS["norm"]
    parts = (kernel["weight"], kernel["bias"], norm["weight"], norm["bias"], PARAMS["table"])
    point, be = np.concatenate([np.ravel(part) for part in parts]), cv.backend("numpy")
    expected = np.stack([be.hvp(lambda v: loss(v, PARAMS, TOKENS), point, e) for e in np.eye(point.size)])
    params, tokens = _tree_map(torch.from_numpy, PARAMS), torch.from_numpy(TOKENS)
    gradient = torch.func.jacrev(lambda v: loss(v, params, tokens))
    found = getattr(torch.func, outer)(gradient)(torch.from_numpy(point))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


def test_jax_transforms_and_its_compiler(reference: Any, x64: Any) -> None:
    jax, jnp = x64, x64.numpy
    value, gradient = reference
    params, tokens = _tree_map(jnp.asarray, PARAMS), jnp.asarray(TOKENS)
    u = jnp.cos(jnp.arange(value.size, dtype=jnp.float64)).reshape(value.shape)
    _assert_same(jax.jit(network)(params, tokens), value)

    def mapped(p: Any) -> Any:
        return jax.vmap(lambda one: network(p, one[None])[0])(tokens)

    _assert_same(jax.jit(jax.grad(lambda p: (mapped(p) * u).sum()))(params), gradient)
