"""Which implementation runs: the backend's kernel on its own arrays, the portable one on traced arrays."""

from __future__ import annotations

from typing import Any

import array_api_compat.torch
import numpy as np
import pytest
import torch

import curvature as cv
from curvature import nn
from curvature.nn.kernels import kernel

RNG = np.random.default_rng(3)
X, W, B = (torch.from_numpy(RNG.standard_normal(shape)) for shape in ((2, 4, 6, 5), (4, 2, 3, 2), 4))
TOKENS, TABLE = torch.tensor([[0, 2], [1, 1]]), torch.from_numpy(RNG.standard_normal((3, 4)))

CALLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "linear": (lambda: nn.linear(TABLE, TABLE), (TABLE, TABLE, None)),
    "conv2d": (
        lambda: nn.conv2d(X, W, B, stride=2, padding="same", dilation=(1, 2), groups=2),
        (X, W, B, (2, 2), ((0, 1), (1, 1)), (1, 2), 2),
    ),
    "embedding": (lambda: nn.embedding(TOKENS, TABLE), (TOKENS, TABLE)),
    "gelu": (lambda: nn.gelu(TABLE), (TABLE,)),
}


def _spied(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []
    answer = torch.zeros(1, dtype=torch.float64)

    def spy(*args: Any) -> Any:
        calls.append(args)
        return answer

    monkeypatch.setattr(type(cv.backend("torch")), "kernels", {name: spy})
    return calls


@pytest.mark.parametrize("name", CALLS)
def test_a_kernel_is_called_with_arguments_in_normal_form(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _spied(monkeypatch, name)
    call, expected = CALLS[name]
    assert call().shape == (1,), "the kernel's answer is the layer's"
    (found,) = calls
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a is b if isinstance(b, torch.Tensor) or b is None else a == b


@pytest.mark.parametrize("name", CALLS)
def test_no_kernel_meets_a_traced_array(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _spied(monkeypatch, name)
    be = cv.ArrayBackend("bare-torch", array_api_compat.torch)  # whose derivatives are those of curvature.autodiff
    traced: dict[str, Any] = {
        "linear": lambda t: nn.linear(TABLE, t),
        "conv2d": lambda t: nn.conv2d(X, t, groups=2),
        "embedding": lambda t: nn.embedding(TOKENS, t),
        "gelu": nn.gelu,
    }
    point = W if name == "conv2d" else TABLE
    value, pull = be.vjp(traced[name], point)
    pull(value)
    assert calls == []


def test_a_backend_without_kernels_has_none() -> None:
    assert kernel("conv2d", np.zeros(1)) is None


def test_jax_has_the_convolution_of_the_portable_form(x64: Any) -> None:
    from curvature_jax.kernels import KERNELS

    jnp = x64.numpy
    for bias in (None, jnp.asarray(B.numpy())):
        x, w = jnp.asarray(X.numpy()), jnp.asarray(W.numpy())
        found = KERNELS["conv2d"](x, w, bias, (2, 1), ((0, 1), (2, 0)), (1, 2), 2)
        padded = torch.nn.functional.pad(X, (2, 0, 0, 1))
        expected = torch.nn.functional.conv2d(padded, W, None if bias is None else B, (2, 1), 0, (1, 2), 2)
        np.testing.assert_allclose(np.asarray(found), expected.numpy(), rtol=1e-12, atol=1e-12)
