"""What torch cannot do is said in our words, with a remedy; torch's own words stay as the cause."""

import pytest
import torch
from torch.nn import functional as F

import curvature as cv
from curvature_torch.backend import TorchBackend

be = TorchBackend()


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X = randn(5, 3, seed=2)
P = {"w": randn(3, 2, seed=4), "b": randn(2, seed=5)}


class Once(torch.autograd.Function):
    """A square whose backward cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]


def hidden(p, x):
    return torch.tanh(x @ p["w"] + p["b"])


def distances(p, x):
    return torch.cdist(hidden(p, x), X[:, :2])


def margins(p, x):
    return F.multi_margin_loss(hidden(p, x), (x[:, 0] > 0).long(), reduction="none")[:, None]


def once(p, x):
    return torch.sin(Once.apply(hidden(p, x)))


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (distances, "_cdist_backward.*other operations"),
        (margins, "multi_margin_loss_backward.*other operations"),
        (once, r"Once is marked with @once_differentiable.*remove"),
    ],
)
def test_no_second_derivative(f, said):
    def outputs(p):
        return f(p, X)

    u = torch.ones_like(outputs(P))
    problem = cv.Problem((f, P), cv.Gaussian(), (X, u))
    problem.gradient()
    be.vjp(outputs, P)[1](u)
    be.parameter_uses(f, P, X).pull(u)
    for refused in (
        lambda: be.hvp(lambda p: (outputs(p) ** 2).sum(), P, P),
        lambda: be.linearize(outputs, P)[1](P),
        lambda: be.jvp(outputs, P, P),
        lambda: be.jvp_and_pull(outputs, P, P),
        lambda: be.value_and_gradient(lambda p: be.vjp(outputs, p)[1](u)["w"].sum(), P),
        lambda: cv.Fisher(problem) @ torch.ones(8),
        lambda: cv.Hessian(problem) @ torch.ones(8),
    ):
        with pytest.raises(cv.UnsupportedError, match=said):
            refused()


def test_torchs_own_words_are_the_cause():
    with pytest.raises(cv.UnsupportedError) as caught:
        be.hvp(lambda p: distances(p, X).sum(), P, P)
    assert "derivative for '_cdist_backward' is not implemented" in str(caught.value.__cause__)


def test_no_second_derivative_inside_of_torch_func():
    with pytest.raises(cv.UnsupportedError, match="_cdist_backward"):
        be.vmap(lambda v: be.hvp(lambda p: distances(p, X).sum(), P, {"w": v, "b": P["b"]}))(P["w"][None])


def test_data_made_in_inference_mode():
    with torch.inference_mode():
        x, overwritten = X * 1.0, X * 1.0

    def outputs(p):
        return hidden(p, x)

    def loss(p):
        return outputs(p).square().sum()

    for refused in (
        lambda: be.parameter_uses(hidden, P, x),
        lambda: be.value_and_gradient(loss, P),
        lambda: be.vjp(outputs, P),
        lambda: be.linearize(outputs, P),
        lambda: be.jvp_and_pull(outputs, P, P),
        lambda: be.hvp(loss, P, P),
        lambda: be.hvp(lambda p: hidden(p, x.view(5, 3)).sum(), P, P),
        lambda: be.hvp(lambda p: hidden(p, overwritten.add_(1.0)).sum(), P, P),
        lambda: cv.Fisher(cv.Problem((hidden, P), cv.Gaussian(), (x, X[:, :2]))) @ torch.ones(8),
        lambda: cv.Hessian(cv.Problem((hidden, P), cv.Gaussian(), (x, X[:, :2]))) @ torch.ones(8),
    ):
        with pytest.raises(cv.DataError, match=r"inference_mode.*x\.clone\(\)") as caught:
            refused()
        assert isinstance(caught.value.__cause__, RuntimeError)
    x = x.clone()
    torch.testing.assert_close(be.hvp(loss, P, P), be.hvp(lambda p: hidden(p, X).square().sum(), P, P))


@pytest.mark.parametrize("f", [lambda p: hidden(p, X.double()), lambda p: F.linear(X.double(), p["w"].T)])
def test_other_errors_of_torch_are_passed_on(f):
    with pytest.raises(RuntimeError, match="dtype"):
        f(P)
    for method in (
        lambda: be.value_and_gradient(lambda p: f(p).sum(), P),
        lambda: be.vjp(f, P),
        lambda: be.jvp(f, P, P),
        lambda: be.linearize(f, P),
        lambda: be.jvp_and_pull(f, P, P),
        lambda: be.hvp(lambda p: f(p).sum(), P, P),
        lambda: be.parameter_uses(lambda p, x: f(p), P, X),
    ):
        with pytest.raises(RuntimeError, match="dtype") as caught:
            method()
        assert type(caught.value) is RuntimeError
        assert caught.value.__cause__ is None
