"""Models whose forward derivative is not the transpose of their reverse one, and Hessians that layers alone do not give."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import pytest
import torch
from torch import nn

import curvature as cv

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(5, 4, dtype=torch.float64, generator=GENERATOR)
Y = torch.tensor([0, 1, 2, 1, 0])
TARGETS = torch.randn(5, 4, dtype=torch.float64, generator=GENERATOR)


class Net(nn.Module):
    def __init__(self, function, outputs=3):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, outputs)
        self.function = function
        self.double()

    def forward(self, x):
        return self.function(self, x)


def stopped(net, x):
    with torch.no_grad():
        t = net.first(x).tanh()
    return net.last(net.first(x).sin() + t)


def hooked(net, x):
    h = net.first(x).tanh()
    if h.requires_grad:
        h.register_hook(lambda g: 0.1 * g)
    return net.last(h)


def mapped(net, x):
    return net.last(torch.vmap(lambda one: net.first(one).tanh())(x))


def force(net, x):
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        energy = net.last(net.first(x).tanh()).sum()
        return torch.autograd.grad(energy, x, create_graph=True)[0]


@pytest.mark.parametrize("function", [stopped, hooked, force], ids=lambda f: f.__name__)
def test_products_are_those_of_reverse_mode(function):
    likelihood, y = (cv.Gaussian(), TARGETS) if function is force else (cv.Categorical(), Y)
    problem = cv.Problem(Net(function, 1 if function is force else 3), likelihood, (X, y))
    v = torch.randn(problem.space.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for matrix in (cv.GGN(problem), cv.Fisher(problem), cv.EmpiricalFisher(problem)):
        with pytest.warns(cv.FallbackWarning, match="not the transpose") if matrix.__class__ is cv.GGN else nullcontext():
            product = matrix @ v
        torch.testing.assert_close(product, matrix.to_dense() @ v, rtol=1e-9, atol=1e-11)
    tangent = problem.space.unravel(torch, v)
    form = cv.GGN(problem).quadratic_forms([tangent])
    torch.testing.assert_close(form[0, 0], v @ cv.GGN(problem).to_dense() @ v, rtol=1e-9, atol=1e-11)


def test_what_forward_mode_cannot_do_is_done_in_reverse():
    problem = cv.Problem(Net(mapped), cv.Categorical(), (X, Y))
    v = torch.ones(problem.space.size, dtype=torch.float64)
    torch.testing.assert_close(cv.GGN(problem) @ v, cv.GGN(problem).to_dense() @ v)


def central_difference(problem, v, h=1e-5):
    at = problem.space.ravel(torch, problem.params)

    def gradient(flat):
        return problem.space.ravel(torch, problem.at(problem.space.unravel(torch, flat)).gradient())

    return (gradient(at + h * v) - gradient(at - h * v)) / (2 * h)


def test_the_hessian_of_a_model_that_takes_derivatives_itself():
    problem = cv.Problem(Net(force, 1), cv.Gaussian(), (X, TARGETS))
    v = torch.randn(problem.space.size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with pytest.warns(cv.FallbackWarning, match="differ from the gradient differentiated again"):
        product = cv.Hessian(problem) @ v
    torch.testing.assert_close(product, central_difference(problem, v), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(cv.Hessian(problem) @ v, product)


def test_several_products_with_that_hessian():
    """The layers' way is refuted by the first of them, and none of the others is taken from it."""
    problem = cv.Problem(Net(force, 1), cv.Gaussian(), (X, TARGETS))
    v = torch.randn(problem.space.size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected = torch.stack([central_difference(problem, v[:, j]) for j in range(3)], dim=1)
    with pytest.warns(cv.FallbackWarning, match="differ from the gradient differentiated again"):
        products = cv.Hessian(problem) @ v
    torch.testing.assert_close(products, expected, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(cv.Hessian(problem).linearised() @ v, products)


@pytest.mark.parametrize("minus", [lambda b, y: b - y, lambda b, y: b.sub(y), lambda b, y: torch.rsub(y, b)])
def test_the_hessian_where_a_product_is_subtracted(minus):
    def function(net, x):
        h = net.first(x).tanh()
        return minus(net.last.bias, h @ net.last.weight.T)

    problem = cv.Problem(Net(function), cv.Categorical(), (X, Y))
    v = torch.randn(problem.space.size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(cv.Hessian(problem) @ v, central_difference(problem, v), rtol=1e-6, atol=1e-8)
    assert set(problem.uses().kinds.values()) <= {"affine", "shift"}


def test_several_products_in_inference_mode():
    problem = cv.Problem(Net(lambda net, x: net.last(net.first(x).tanh())), cv.Categorical(), (X, Y))
    v = torch.randn(problem.space.size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    for matrix in (cv.Hessian(problem), cv.GGN(problem)):
        expected, kept = matrix @ v, matrix.linearised()
        with torch.inference_mode():
            for product in (matrix @ v, kept @ v, matrix.linearised() @ v, matrix @ (v * 1.0)):
                torch.testing.assert_close(product, expected)


def test_derivatives_through_the_biases_of_a_block_diagonal_operator():
    problem = cv.Problem(Net(lambda net, x: net.last(net.first(x).tanh())), cv.Categorical(), (X, Y))
    operator = cv.approximate(cv.Fisher(problem), "kfac")
    v = torch.randn(problem.space.size, dtype=torch.float64, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (gradient,) = torch.autograd.grad((operator @ v).sum(), v)
    torch.testing.assert_close(gradient, operator.to_dense().sum(dim=0))
