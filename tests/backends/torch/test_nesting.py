"""Derivatives of functions that themselves take derivatives: never silently zero."""

import optree
import pytest
import torch

import curvature as cv
from curvature_torch.backend import TorchBackend

be = TorchBackend()
DOUBLE = torch.float64


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


X = randn(5, 4, seed=1)


def params(seed=3):
    return {"w": randn(4, 3, seed=seed), "b": [randn(3, seed=seed + 1)]}


P, V, W = params(), params(40), params(80)


def f(p):
    return torch.tanh(X @ p["w"] + p["b"][0])


def loss(p):
    return torch.logsumexp(f(p) ** 2 + f(p), -1).sum()


def gradient(p):
    return be.value_and_gradient(loss, p)[1]


def dot(a, b):
    return sum((u * v).sum() for u, v in zip(optree.tree_leaves(a), optree.tree_leaves(b), strict=True))


def close(a, b, **tolerance):
    for u, v in zip(optree.tree_leaves(a), optree.tree_leaves(b), strict=True):
        torch.testing.assert_close(u, v, **tolerance)


def difference(g, p, v, step=1e-5):
    def at(t):
        return g(optree.tree_map(lambda a, b: a + t * b, p, v))

    return optree.tree_map(lambda a, b: (a - b) / (2 * step), at(step), at(-step))


# Scalar functions with a derivative inside, one for each method.
INNER = {
    "value_and_gradient": lambda p: dot(gradient(p), V),
    "vjp": lambda p: (be.vjp(f, p)[1](torch.cos(f(p)))["w"] ** 2).sum(),
    "jvp": lambda p: (be.jvp(f, p, V)[1] ** 2).sum(),
    "linearize push": lambda p: (be.linearize(f, p)[1](V) ** 2).sum(),
    "linearize pull": lambda p: dot(be.linearize(f, p)[2](X[:, :3]), V) ** 2,
    "jvp_and_pull": lambda p: dot(be.jvp_and_pull(f, p, V)[2](be.jvp_and_pull(f, p, V)[1]), V),
    "hvp": lambda p: dot(be.hvp(loss, p, V), V),
    "vmap of gradients": lambda p: (
        be.vmap(lambda p, x: be.value_and_gradient(lambda q: torch.tanh(x @ q["w"]).sum(), p)[1]["w"], (None, 0))(p, X) ** 2
    ).sum(),
}


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER.keys())
def test_every_method_inside_every_other(inner):
    slope = difference(inner, P, W)
    assert abs(slope) > 1e-3
    near = {"rtol": 1e-6, "atol": 1e-7}
    torch.testing.assert_close(be.jvp(inner, P, W)[1], slope, **near)
    torch.testing.assert_close(dot(be.value_and_gradient(inner, P)[1], W), slope, **near)
    torch.testing.assert_close(be.linearize(inner, P)[1](W), slope, **near)
    torch.testing.assert_close(be.jvp_and_pull(inner, P, W)[1], slope, **near)
    torch.testing.assert_close(dot(be.jvp_and_pull(inner, P, W)[2](torch.ones((), dtype=DOUBLE)), W), slope, **near)
    product = be.hvp(inner, P, W)
    close(product, difference(lambda p: be.value_and_gradient(inner, p)[1], P, W), rtol=1e-5, atol=1e-6)


def test_hessian_products_from_nested_methods():
    expected = be.hvp(loss, P, V)
    close(be.jvp(gradient, P, V)[1], expected)
    _, push, pull = be.linearize(gradient, P)
    close(push(V), expected)
    close(pull(V), expected)
    close(push(V), expected)


def test_maps_made_outside_are_differentiable_in_their_argument():
    _, push, pull = be.linearize(f, P)
    _, pull_only = be.vjp(f, P)
    u, du = f(P), torch.cos(f(P))
    for g in (pull, pull_only):
        close(be.jvp(g, u, du)[1], g(du))
        close(be.vjp(g, u)[1](V), push(V))
    close(be.jvp(push, V, W)[1], push(W))


def test_only_what_goes_through_the_argument_is_differentiated():
    def outer(p):
        def inner(q):
            return dot(q, p)  # the second factor is a constant of this inner function

        return be.value_and_gradient(inner, p)[1]

    close(outer(P), P)
    close(be.jvp(outer, P, V)[1], V)
    close(be.linearize(outer, P)[1](V), V)


def test_inside_transforms_of_torch_func():
    expected = be.hvp(loss, P, V)
    close(torch.func.jvp(gradient, (P,), (V,))[1], expected)
    close(torch.func.grad(lambda p: dot(gradient(p), V))(P), expected)
    stacked = optree.tree_map(lambda a, b: torch.stack([a, b]), P, V)
    for method in (
        lambda p: be.hvp(loss, p, W),
        lambda p: be.jvp(f, p, W)[1],
        lambda p: be.jvp_and_pull(f, p, W)[2](X[:, :3]),
        lambda p: be.vjp(f, p)[1](X[:, :3]),
    ):
        mapped = be.vmap(method)(stacked)
        close(optree.tree_map(lambda a: a[1], mapped), method(V))


def test_uses_cannot_be_differentiated():
    with pytest.raises(cv.UnsupportedError, match="outside"):
        be.jvp(lambda p: be.parameter_uses(lambda q, x: f(q), p, None).outputs, P, V)


def test_results_carry_no_history_of_the_caller():
    p = optree.tree_map(lambda a: a.clone().requires_grad_(), P)
    with pytest.raises(RuntimeError, match="does not require grad"):
        dot(gradient(p), V).backward()
