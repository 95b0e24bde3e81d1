"""What looks alike but is something else is never taken for a use, and nothing is missed."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from curvature_torch.backend import TorchBackend

be = TorchBackend()
DOUBLE = torch.float64
N = 5


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


X = randn(N, 4, seed=1)


WEIGHT = {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}


@pytest.mark.parametrize(
    ("f", "named"),
    [
        (lambda p, x: x @ torch.exp(p["w"]) + p["b"].exp(), "exp"),
        (lambda p, x: torch.einsum("ni,io->no", x, p["w"]) + torch.stack([p["b"]]), "einsum"),
        (lambda p, x: F.linear(x, p["w"].T, 2 * p["b"]), "mul"),
        (lambda p, x: (x[:1] @ p["w"] + p["b"]) * x[:, :1], "has no axis of 5 examples"),
        (lambda p, x: x @ p["w"] + (p["w"] + p["b"]).sum(0), "add"),
        (lambda p, x: x @ (torch.eye(4, dtype=DOUBLE) @ p["w"]) + p["b"], "matmul"),
        (lambda p, x: torch.add(x @ p["w"], p["b"], alpha=2), "add"),
        (lambda p, x: torch.addmm(p["b"], x, p["w"], alpha=2), "addmm"),
        (lambda p, x: Twice.apply(x @ p["w"]) + Twice.apply(p["b"]), "does not show"),
        (lambda p, x: x @ p["w"] + p["b"] + Twice.apply(p["b"]) + 0 * p["w"].sum(), "does not show"),
        (lambda p, x: (x @ p["w"]) / p["b"], "div"),
        (lambda p, x: x @ F.normalize(p["w"], dim=0) + p["b"], ""),
        (lambda p, x: x @ (p["w"] / p["w"].norm()) + p["b"], "norm"),
        (lambda p, x: x @ p["w"].clone().mul_(2) + p["b"], "mul_"),
        (lambda p, x: x @ overwritten(p["w"]) + p["b"], "__setitem__"),
        (lambda p, x: x @ torch.tril(p["w"]) + p["b"], "tril"),
        (lambda p, x: x @ (p["w"] * p["b"]) + p["b"], "mul"),
        (lambda p, x: x @ p["w"] ** 2 + p["b"], "pow"),
        (lambda p, x: torch.cat([x @ p["w"], p["b"].tile(2)[None].repeat(1, 1)[:, :3].cos().expand(N, -1)], 1), "cos"),
        (lambda p, x: x @ torch.cat([p["w"], p["b"][None]])[:4], "cat"),
    ],
)
def test_other_uses_are_never_missed(check, f, named):
    uses = be.parameter_uses(f, WEIGHT, X)
    assert any(named in reason for reason in uses.unrecognised.values()), uses.unrecognised
    recognised = set(WEIGHT) - set(uses.unrecognised) - set(uses.unused)
    check(f, WEIGHT, X, recognised=recognised, unrecognised=set(uses.unrecognised), unused=uses.unused)


def overwritten(w):
    w = w.clone()
    w[0] = 0
    return w


def test_parameters_with_an_axis_of_examples(check):
    params = {"w": randn(N, 4, seed=1), "b": randn(N, 1, seed=2), "c": randn(4, seed=3)}
    f = lambda p, x: x * p["w"] + p["b"] + p["c"]  # noqa: E731
    uses = check(f, params, X, recognised={"c"}, unrecognised={"w", "b"})
    assert "mul" in uses.unrecognised["w"]
    assert "add" in uses.unrecognised["b"]


def test_reparametrised_weights(check):
    """Weights that are made of others: only the bias is one."""
    for norm in (nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm):
        layer = norm(nn.Linear(4, 3).double().eval())
        params = {name: randn(*p.shape, seed=i) for i, (name, p) in enumerate(layer.named_parameters())}
        f = lambda p, x, layer=layer: torch.func.functional_call(layer, p, (x,))  # noqa: E731
        check(f, params, X, recognised={"bias"}, unrecognised=set(params) - {"bias"})


@pytest.mark.parametrize(
    "module",
    [nn.ConvTranspose1d(3, 2, 2), nn.Bilinear(4, 4, 2), nn.LSTM(4, 5, proj_size=2, batch_first=True)],
    ids=lambda m: type(m).__name__,
)
def test_modules_that_are_not_understood_are_named(check, module):
    module = module.double()
    params = {name: randn(*p.shape, seed=i) for i, (name, p) in enumerate(module.named_parameters())}
    x = randn(N, 3, 4, seed=3)

    def f(p, x):
        found = torch.func.functional_call(module, p, (x, x) if isinstance(module, nn.Bilinear) else (x,))
        return found[0] if isinstance(found, tuple) else found

    uses = be.parameter_uses(f, params, x)
    names = {"ConvTranspose1d": "conv_transpose1d", "Bilinear": "bilinear", "LSTM": "lstm"}
    assert all(names[type(module).__name__] in reason for reason in uses.unrecognised.values())
    check(f, params, x, recognised=set(), unrecognised=set(params))


class Twice(torch.autograd.Function):
    """An operation that torch functions do not show."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g

    @staticmethod
    def vmap(info, in_dims, x):
        return Twice.apply(x), in_dims[0]


def test_uses_that_reach_nothing_do_not_count(check):
    def f(p, x):
        _ = (x @ p["b"][:, None][:1]) if False else torch.exp(p["w"]).sum()
        with torch.no_grad():
            _ = x @ p["w"]
        return (x @ p["w"] + p["w"].detach().sum()) * (p["w"] > 0).sum() + p["w"].shape[0]

    check(f, {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}, X, recognised={"w"}, unused={"b"})


def test_what_reaches_nothing_does_not_hide_what_does(check):
    def f(p, x):
        _ = p["w"].T, x @ p["b"]
        return x @ p["w"] + Twice.apply(p["w"]).sum() * Twice.apply(p["b"]).sum()

    params = {"w": randn(4, 3, seed=1), "b": randn(4, 3, seed=2)}
    check(f, params, X, recognised=set(), unrecognised={"w", "b"})


def test_inputs_that_are_overwritten_are_not_relied_on():
    def f(p, x):
        h = x + 1
        s = h @ p["w"].detach().requires_grad_(False) + h @ p["w"]
        with torch.no_grad():
            h.zero_()
        return s

    uses = be.parameter_uses(f, {"w": randn(4, 3, seed=1)}, X)
    assert "overwritten" in uses.unrecognised["w"]
