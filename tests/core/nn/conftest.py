"""The libraries on which layers are compared with ``torch.nn.functional`` in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch

import curvature as cv

LIBRARIES = ("numpy", "strict", "torch", "torch-kernels", "jax")


@dataclass(frozen=True)
class Library:
    """A backend, and arrays on it."""

    name: str
    be: cv.Backend

    def array(self, values: Any) -> Any:
        return self.be.asarray(np.array(values))

    def tree(self, tree: dict[str, np.ndarray]) -> dict[str, Any]:
        return {name: self.array(values) for name, values in tree.items()}

    def host(self, x: Any) -> np.ndarray:
        return np.asarray(self.be.to_numpy(x))


@pytest.fixture
def x64() -> Iterator[Any]:
    """JAX in double precision."""
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    """A library; "jax" is its bare namespace, differentiated by ``curvature.autodiff``."""
    name = request.param
    if name == "strict":
        return Library(name, cv.ArrayBackend("strict", array_api_strict))
    if name == "jax":
        jax = request.getfixturevalue("x64")
        return Library(name, cv.ArrayBackend("jax", jax.numpy))
    be = cv.backend(name.removesuffix("-kernels"))
    if name.startswith("torch"):
        from curvature_torch.kernels import KERNELS

        monkeypatch.setattr(type(be), "kernels", KERNELS if name == "torch-kernels" else {})
    return Library(name, be)


@dataclass(frozen=True)
class Reference:
    """What PyTorch gives: values, and the gradients of Σ u ∘ values."""

    value: np.ndarray
    gradients: dict[str, np.ndarray]


def reference(function: Any, arrays: dict[str, np.ndarray], cotangent: np.ndarray | None = None) -> tuple[Reference, np.ndarray]:
    """Values and gradients of a function of named tensors, and the cotangent u."""
    tensors = {name: torch.from_numpy(np.array(values)).requires_grad_() for name, values in arrays.items()}
    y = function(tensors)
    if cotangent is None:
        cotangent = np.random.default_rng(99).standard_normal(tuple(y.shape))
    gradients = torch.autograd.grad(y, list(tensors.values()), torch.from_numpy(cotangent))
    found = dict(zip(tensors, (g.numpy() for g in gradients), strict=True))
    return Reference(y.detach().numpy(), found), cotangent


def assert_agrees(library: Library, ours: Any, theirs: Any, arrays: dict[str, np.ndarray]) -> None:
    """Values, plain and traced, and gradients of ``ours(namespace-free dict)`` are those of ``theirs(dict of tensors)``."""
    expected, u = reference(theirs, arrays)
    params = library.tree(arrays)
    plain = ours(params)
    assert library.be.owns(plain)
    np.testing.assert_allclose(library.host(plain), expected.value, rtol=1e-11, atol=1e-12)
    value, pull = library.be.vjp(ours, params)
    np.testing.assert_allclose(library.host(value), expected.value, rtol=1e-11, atol=1e-12)
    pulled = pull(library.array(u))
    for name, gradient in expected.gradients.items():
        np.testing.assert_allclose(library.host(pulled[name]), gradient, rtol=1e-10, atol=1e-11, err_msg=name)
    for name, values in arrays.items():
        np.testing.assert_array_equal(library.host(params[name]), values, err_msg=f"{name} was written to")
