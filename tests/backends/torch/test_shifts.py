"""Parameters that are added: vectors, tables, numbers, class tokens, whatever they are broadcast against."""

import array_api_compat.torch as xp
import pytest
import torch

import curvature as cv

N = 5


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, X3, IMAGES = randn(N, 4, seed=1), randn(N, 3, 4, seed=2), randn(N, 2, 3, 4, seed=3)


@pytest.mark.parametrize("x", [X, X3], ids=["examples", "positions"])
@pytest.mark.parametrize(
    "f",
    [
        lambda p, x: torch.tanh(x + p["b"]),
        lambda p, x: xp.exp(xp.add(p["b"], x)),
        lambda p, x: torch.tanh(x - p["b"]),
        lambda p, x: torch.tanh(p["b"] - x),
        lambda p, x: torch.tanh(torch.subtract(x, p["b"])),
        lambda p, x: torch.tanh(torch.rsub(x, p["b"])),
    ],
)
def test_vectors(check, f, x):
    uses = check(f, {"b": randn(4, seed=22)}, x, recognised={"b"})
    assert uses.uses == (cv.Use("shift", "b", None, None, (1, 4)),)


def test_in_place(check):
    def f(p, x):
        h = x.clone()
        h -= p["b"]
        h += p["c"]
        return torch.tanh(h)

    uses = check(f, {"b": randn(4, seed=1), "c": randn(1, seed=2)}, X, recognised={"b", "c"})
    assert [(u.parameter, u.matrix_shape) for u in uses.uses] == [("b", (1, 4)), ("c", (1, 1))]


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (3, 4), (1, 3, 4), (2, 1, 1), (1, 2, 1, 4), (1, 1, 1, 1)])
def test_broadcasting(check, shape):
    uses = check(lambda p, x: torch.tanh(x + p["b"]), {"b": randn(*shape, seed=4)}, IMAGES, recognised={"b"})
    assert [(u.kind, u.matrix_shape, u.entries) for u in uses.uses] == [("shift", (1, max(1, randn(*shape).numel())), None)]


def test_broadcasting_of_what_is_added_to(check):
    uses = check(lambda p, x: torch.tanh(x[:, None] + p["b"]), {"b": randn(6, 4, seed=4)}, X, recognised={"b"})
    assert uses.uses[0].matrix_shape == (1, 24)


def test_two_parameters_added_to_each_other_first(check):
    params = {"a": randn(3, 1, seed=1), "b": randn(1, 1, 4, seed=2)}
    check(lambda p, x: torch.tanh(x + p["a"]) + (p["b"] + x), params, X3, recognised={"a", "b"})


TOKENS = {
    "expand": lambda c, n: c.expand(n, -1, -1),
    "repeat": lambda c, n: c.repeat(n, 1, 1),
    "broadcast_to": lambda c, n: torch.broadcast_to(c, (n, 1, 4)),
    "tile": lambda c, n: torch.tile(c, (n, 1, 1)),
    "repeat_interleave": lambda c, n: c.repeat_interleave(n, 0),
    "reshaped after": lambda c, n: c.expand(n, -1, -1).transpose(0, 1).transpose(0, 1).contiguous().view(n, 1, 4),
    "indexed": lambda c, n: c.reshape(4)[None].expand(n, 4).unsqueeze(1),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS.keys())
def test_class_tokens(check, token):
    def f(p, x):
        h = torch.cat([token(p["cls"], len(x)), x], dim=1)
        return torch.tanh(h + p["table"]).sum(1)

    params = {"cls": randn(1, 1, 4, seed=1), "table": randn(1, 4, 4, seed=2)}
    for x in (X3, X3[:1]):
        uses = check(f, params, x, recognised={"cls", "table"})
        assert {u.parameter: (u.kind, u.matrix_shape, u.entries) for u in uses.uses} == {
            "cls": ("shift", (1, 4), None),
            "table": ("shift", (1, 16), None),
        }


def test_a_token_expanded_over_examples_and_positions(check):
    def f(p, x):
        return torch.cat([p["c"].expand(len(x), 2, -1), x], dim=1).tanh().sum(1)

    for x in (X3, X3[:1]):
        uses = check(f, {"c": randn(1, 1, 4, seed=1)}, x, recognised={"c"})
        assert uses.uses == (cv.Use("shift", "c", None, None, (1, 4)),)


def test_a_token_that_enters_expanded_in_several_ways(check):
    def f(p, x):
        c = p["c"].expand(len(x), -1)
        return torch.tanh(x * c) + c.exp() + (c + x) * p["d"]

    uses = check(f, {"c": randn(1, 4, seed=1), "d": randn(4, seed=2)}, X, recognised={"c", "d"})
    assert [(u.kind, u.parameter) for u in uses.uses] == [("scale", "d"), ("shift", "c")]


def test_a_parameter_that_is_both_bias_and_scale(check):
    def f(p, x):
        return (x @ p["w"] + p["b"]) * p["b"]

    uses = check(f, {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}, X, recognised={"w", "b"})
    assert [(u.kind, u.parameter, u.bias) for u in uses.uses] == [("linear", "w", "b"), ("scale", "b", None)]


def test_a_bias_that_is_subtracted_is_not_the_product_s(check):
    params = {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}
    uses = check(lambda p, x: torch.tanh(x @ p["w"] - p["b"]), params, X, recognised={"w", "b"})
    assert [(u.kind, u.bias) for u in uses.uses] == [("linear", None), ("shift", None)]
