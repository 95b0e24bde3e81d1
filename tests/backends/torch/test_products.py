"""Products with matrices and vectors, and their biases, however they are written."""

import array_api_compat.torch as xp
import pytest
import torch
from torch.nn import functional as F

from curvature_torch.backend import TorchBackend

be = TorchBackend()
DOUBLE = torch.float64
N = 5


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


X, X3 = randn(N, 4, seed=1), randn(N, 3, 4, seed=2)


def two_layers():
    return {"a": {"w": randn(4, 3, seed=10), "b": randn(3, seed=11)}, "c": [randn(2, 3, seed=12), randn(2, seed=13)]}


ALL = {"a.w", "a.b", "c.0", "c.1"}
WRITTEN = {
    "F.linear": lambda p, x: F.linear(torch.tanh(F.linear(x, p["a"]["w"].T, p["a"]["b"])), *p["c"]),
    "operators": lambda p, x: torch.tanh(x @ p["a"]["w"] + p["a"]["b"]) @ p["c"][0].T + p["c"][1],
    "bias first": lambda p, x: p["c"][1] + torch.matmul(torch.tanh(p["a"]["b"] + x @ p["a"]["w"]), p["c"][0].mT),
    "namespace": lambda p, x: xp.add(
        xp.matmul(xp.tanh(xp.matmul(x, p["a"]["w"]) + p["a"]["b"]), xp.permute_dims(p["c"][0], (1, 0))), p["c"][1]
    ),
    "reshaped": lambda p, x: F.linear(
        torch.relu(x @ p["a"]["w"].reshape(-1).view(4, 3).contiguous() + p["a"]["b"].reshape(1, 3).ravel()),
        p["c"][0].transpose(0, 1).t().clone().to(DOUBLE),
        p["c"][1].unsqueeze(0).squeeze(0),
    ),
    "in place": lambda p, x: _in_place(p, x),
}


def _in_place(p, x):
    h = x @ p["a"]["w"]
    h += p["a"]["b"]
    h = h.relu_()
    h = F.linear(h, p["c"][0])
    return h.add_(p["c"][1]).mul_(3.0)


@pytest.mark.parametrize("f", WRITTEN.values(), ids=WRITTEN.keys())
@pytest.mark.parametrize("x", [X, X3], ids=["examples", "positions"])
def test_two_layers(check, f, x):
    uses = check(f, two_layers(), x, recognised=ALL)
    assert [(u.kind, u.parameter, u.bias) for u in uses.uses] == [("linear", "a.w", "a.b"), ("linear", "c.0", "c.1")]
    assert [u.matrix_shape for u in uses.uses] == [(4, 3), (2, 3)]
    assert [u.transposed for u in uses.uses] == [False, True]
    torch.testing.assert_close(uses.uses[0].inputs, x)


def test_addmm_and_mm(check):
    def f(p, x):
        return torch.addmm(p["c"][1], torch.mm(x, p["a"]["w"]).add(p["a"]["b"]), p["c"][0].T)

    check(f, two_layers(), X, recognised=ALL)


def test_products_with_a_vector(check):
    params = {"w": randn(4, seed=20), "b": randn(seed=21)}
    uses = check(lambda p, x: x @ p["w"] + p["b"], params, X, recognised={"w", "b"})
    assert uses.uses[0].matrix_shape == (4, 1)
    assert uses.uses[0].bias == "b"
    check(lambda p, x: torch.mv(x, p["w"]) ** 2, params, X, recognised={"w"}, unused={"b"})
    check(lambda p, x: x @ p["w"], params, X3, recognised={"w"}, unused={"b"})


def test_a_vector_added_to_a_product_that_also_goes_elsewhere_is_a_shift(check):
    def f(p, x):
        s = x @ p["w"]
        return torch.tanh(s + p["b"]) * s

    uses = check(f, {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}, X, recognised={"w", "b"})
    assert [u.kind for u in uses.uses] == ["linear", "shift"]


def test_a_product_that_is_returned_keeps_its_own_cotangents(check):
    def f(p, x):
        s = x @ p["w"]
        _ = s + p["b"]  # goes nowhere
        return s

    uses = check(f, {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}, X, recognised={"w"}, unused={"b"})
    assert [u.bias for u in uses.uses] == [None]


def test_two_vectors_added_to_one_product(check):
    params = {"w": randn(4, 3, seed=1), "b": randn(3, seed=2), "c": randn(3, seed=3)}
    uses = check(lambda p, x: x @ p["w"] + p["b"] + p["c"], params, X, recognised={"w", "b", "c"})
    assert [u.kind for u in uses.uses] == ["linear", "shift"]


def test_tied_weights(check):
    def autoencoder(p, x):
        return torch.tanh(torch.tanh(x @ p["w"] + p["b"]) @ p["w"].T) @ p["w"] + p["b"]

    uses = check(autoencoder, {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}, X, recognised={"w", "b"})
    assert [u.transposed for u in uses.uses] == [False, True, False]


def test_one_tensor_at_two_places_of_the_tree(check):
    w = randn(4, 4, seed=1)
    check(lambda p, x: torch.tanh(x @ p["a"]) @ p["b"], {"a": w, "b": w}, X, recognised={"a", "b"})
