"""Every function with a rule in float64: value, push, pull, second and third derivatives, against PyTorch and differences."""

from __future__ import annotations

import functools

import array_api_compat.torch as torch_xp
import numpy as np
import pytest
import torch

from curvature import autodiff
from curvature.backend import namespace

from .cases import CASES, points
from .conftest import LIBRARIES, Library


def at(case, lib, seed=7):
    return [lib.array(p) for p in points(case, seed)]


def directions(case, lib, seed=8):
    rng = np.random.default_rng(seed)
    return [lib.array(rng.normal(size=s)) for s in case.shapes]


def of_tree(case):
    return lambda arrays: case.function(namespace(*arrays), *arrays)


def weights(shape):
    return np.random.default_rng(9).normal(size=shape)


@functools.cache
def reference(name):
    """Value, push, pull and derivatives of second and third order, all by torch.func."""
    case = CASES[name]
    x = tuple(torch.asarray(p) for p in points(case))
    rng = np.random.default_rng(8)
    v = tuple(torch.asarray(rng.normal(size=s)) for s in case.shapes)

    def f(*arrays):
        return case.function(torch_xp, *arrays)

    y, dy = torch.func.jvp(f, x, v)
    w = torch.asarray(weights(tuple(y.shape)))
    pulled = torch.func.vjp(f, *x)[1](w)

    def scalar(*arrays):
        return torch.sum(f(*arrays) * w)

    # Reverse over reverse below: forward over forward PyTorch loses a term of solve, det and slogdet (the closed form
    # D³ log det [V, V] = 2 (A⁻¹V)²A⁻¹ is twice what it says).
    every = tuple(range(len(x)))

    def slope(*arrays):
        return sum(torch.sum(g * t) for g, t in zip(torch.func.grad(scalar, every)(*arrays), v, strict=True))

    second, third = torch.func.jvp(torch.func.grad(slope, every), x, v)
    return [[a.numpy() for a in group] for group in ((y, dy), pulled, second, third)]


def close(ours, theirs, tolerance):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert tuple(a.shape) == tuple(b.shape)
        scale = max(1.0, float(np.max(np.abs(b), initial=0.0)))
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_torch(lib, name):
    case = CASES[name]
    f, x, v = of_tree(case), at(case, lib), directions(case, lib)
    (y, dy), pulled, second, third = reference(name)
    w = lib.array(weights(y.shape))
    lifted = autodiff.lift(w)

    def scalar(arrays):
        return namespace(*arrays).sum(f(arrays) * lifted)

    close(autodiff.jvp(f, x, v), (y, dy), 1e-11)
    value, push, pull = autodiff.linearize(f, x)
    close((value, push(v)), (y, dy), 1e-11)
    close(pull(w), pulled, 1e-11)
    close(autodiff.hvp(scalar, x, v), second, 1e-9)
    if name != "det":  # PyTorch's loses that term even so; JAX checks it
        close(autodiff.jvp(lambda a: autodiff.hvp(scalar, a, v), x, v)[1], third, 1e-7)
    for before, after in zip(points(case), x, strict=True):
        np.testing.assert_array_equal(before, np.asarray(after))


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_central_differences(name):
    """An independent reference for the push: the function itself, on plain arrays."""
    lib = Library(LIBRARIES["numpy"])
    case = CASES[name]
    x, v = at(case, lib), directions(case, lib)
    step = 1e-6
    ahead, behind = (case.function(lib.xp, *[a + sign * step * t for a, t in zip(x, v, strict=True)]) for sign in (1, -1))
    slope = (np.asarray(ahead) - np.asarray(behind)) / (2 * step)
    close([autodiff.jvp(of_tree(case), x, v)[1]], [slope], 1e-6)


@pytest.mark.parametrize("part", [0, 1])
def test_cotangents_of_symmetric_matrices_are_symmetric(lib, part):
    a = lib.normal(3, 3)
    symmetric = a + lib.xp.matrix_transpose(a)
    y, pull = autodiff.vjp(lambda x: namespace(x).linalg.eigh(x)[part], symmetric)
    cotangent = np.asarray(pull(lib.normal(*y.shape, seed=5)))
    np.testing.assert_allclose(cotangent, cotangent.T, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32(lib32, name):
    case = CASES[name]
    x, f = at(case, lib32), of_tree(case)
    y, push, pull = autodiff.linearize(f, x)
    results = [y, push(x), *pull(y), *autodiff.jvp(f, x, x)]
    results += autodiff.hvp(lambda a: namespace(*a).sum(f(a) * f(a)), x, x)
    assert {str(r.dtype).split(".")[-1] for r in results} == {"float32"}
