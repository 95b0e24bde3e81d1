"""Uses of parameters: Σ a gᵀ over uses is the pulled gradient, for every way of writing an affine map."""

import gc
import weakref
from collections import OrderedDict

import array_api_compat.torch as xp
import optree
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import curvature as cv
from curvature_torch.backend import TorchBackend

be = TorchBackend()
DOUBLE = torch.float64
N = 5


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


X, X3, IMAGES = randn(N, 4, seed=1), randn(N, 3, 4, seed=2), randn(N, 2, 7, 6, seed=3)


def gradient_from(uses, columns):
    """Parameters' gradients, one for each column, as the contract says that they follow from the uses."""
    found = {}
    for use, g in zip(uses.uses, columns, strict=True):
        flat = g.reshape(g.shape[0], -1, g.shape[-1])
        if use.inputs is not None:
            a = use.inputs.reshape(-1, use.inputs.shape[-1] if g.ndim - 1 == use.inputs.ndim else 1)
            assert g.shape[1:-1] == use.inputs.shape[:-1]
            weight = torch.einsum("ni,rno->roi" if use.transposed else "ni,rno->rio", a, flat)
            assert weight.shape[1:] == use.matrix_shape
            found[use.parameter] = found.get(use.parameter, 0) + weight
        shift = use.bias if use.kind == "linear" else use.parameter
        if shift is not None:
            found[shift] = found.get(shift, 0) + flat.sum(1)
    return found


def check(f, params, x, *, recognised, unrecognised=(), unused=()):
    """Uses of f, after checking their cotangents against torch's own gradients."""
    uses = be.parameter_uses(f, params, x)
    space = cv.ParameterSpace.of(params)
    torch.testing.assert_close(uses.outputs, f(params, x).detach())
    assert not uses.outputs.requires_grad
    assert set(uses.unrecognised) == set(unrecognised)
    assert set(uses.unused) == set(unused)
    assert set(recognised) | set(unrecognised) | set(unused) == set(space.names)

    seeds = randn(3, *uses.outputs.shape, seed=9)
    columns = uses.cotangents(seeds)
    found = gradient_from(uses, columns)
    tree, single = uses.pull_both(seeds[1])
    for c, s, o in zip(columns, single, uses.cotangents(seeds[1:2]), strict=True):
        torch.testing.assert_close(c[1:2], s)
        torch.testing.assert_close(s, o)
    for r, seed in enumerate(seeds):
        expected = be.vjp(lambda p: f(p, x), params)[1](seed)
        pulled = dict(zip(space.names, optree.tree_leaves(uses.pull(seed)), strict=True))
        for name, value in zip(space.names, optree.tree_leaves(expected), strict=True):
            torch.testing.assert_close(pulled[name], value)
            if name in recognised:
                torch.testing.assert_close(found[name][r].reshape(value.shape), value)
            if name in unused:
                assert not value.any()
    torch.testing.assert_close(
        torch.cat([a.flatten() for a in optree.tree_leaves(tree)]),
        torch.cat([a.flatten() for a in optree.tree_leaves(uses.pull(seeds[1]))]),
    )
    return uses


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
def test_two_layers(f, x):
    uses = check(f, two_layers(), x, recognised=ALL)
    assert [(u.kind, u.parameter, u.bias) for u in uses.uses] == [("linear", "a.w", "a.b"), ("linear", "c.0", "c.1")]
    assert [u.matrix_shape for u in uses.uses] == [(4, 3), (2, 3)]
    assert [u.transposed for u in uses.uses] == [False, True]
    torch.testing.assert_close(uses.uses[0].inputs, x)


def test_addmm_and_mm():
    def f(p, x):
        return torch.addmm(p["c"][1], torch.mm(x, p["a"]["w"]).add(p["a"]["b"]), p["c"][0].T)

    check(f, two_layers(), X, recognised=ALL)


def test_products_with_a_vector():
    params = {"w": randn(4, seed=20), "b": randn(seed=21)}
    uses = check(lambda p, x: x @ p["w"] + p["b"], params, X, recognised={"w", "b"})
    assert uses.uses[0].matrix_shape == (4, 1)
    assert uses.uses[0].bias == "b"
    check(lambda p, x: torch.mv(x, p["w"]) ** 2, params, X, recognised={"w"}, unused={"b"})
    check(lambda p, x: x @ p["w"], params, X3, recognised={"w"}, unused={"b"})


def test_shifts():
    params = {"b": randn(4, seed=22)}
    for f in (lambda p, x: torch.tanh(x + p["b"]), lambda p, x: xp.exp(xp.add(p["b"], x))):
        for x in (X, X3):
            uses = check(f, params, x, recognised={"b"})
            assert uses.uses == (cv.Use("shift", "b", None, None, (1, 4)),)


def test_a_vector_added_to_a_product_that_also_goes_elsewhere_is_a_shift():
    def f(p, x):
        s = x @ p["w"]
        return torch.tanh(s + p["b"]) * s

    uses = check(f, {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}, X, recognised={"w", "b"})
    assert [u.kind for u in uses.uses] == ["linear", "shift"]


def test_a_product_that_is_returned_keeps_its_own_cotangents():
    def f(p, x):
        s = x @ p["w"]
        _ = s + p["b"]  # goes nowhere
        return s

    uses = check(f, {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}, X, recognised={"w"}, unused={"b"})
    assert [u.bias for u in uses.uses] == [None]


def test_two_vectors_added_to_one_product():
    params = {"w": randn(4, 3, seed=1), "b": randn(3, seed=2), "c": randn(3, seed=3)}
    uses = check(lambda p, x: x @ p["w"] + p["b"] + p["c"], params, X, recognised={"w", "b", "c"})
    assert [u.kind for u in uses.uses] == ["linear", "shift"]


def test_tied_weights():
    def autoencoder(p, x):
        return torch.tanh(torch.tanh(x @ p["w"] + p["b"]) @ p["w"].T) @ p["w"] + p["b"]

    uses = check(autoencoder, {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}, X, recognised={"w", "b"})
    assert [u.transposed for u in uses.uses] == [False, True, False]


def test_one_tensor_at_two_places_of_the_tree():
    w = randn(4, 4, seed=1)
    check(lambda p, x: torch.tanh(x @ p["a"]) @ p["b"], {"a": w, "b": w}, X, recognised={"a", "b"})


def network():
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(2, 3, 3, stride=2, padding=1),
            act=nn.ReLU(inplace=True),
            inner=nn.Sequential(nn.Conv2d(3, 4, (2, 1), bias=False), nn.Tanh()),
            flat=nn.Flatten(),
            head=nn.Linear(36, 5),
            act2=nn.ReLU(),
            last=nn.Linear(5, 2, bias=False),
        )
    ).double()


def test_modules():
    net = network()
    params = dict(net.named_parameters())
    uses = check(lambda p, x: torch.func.functional_call(net, p, (x,)), params, IMAGES, recognised=set(params))
    assert [(u.parameter, u.bias) for u in uses.uses] == [
        ("conv.weight", "conv.bias"),
        ("inner.0.weight", None),
        ("head.weight", "head.bias"),
        ("last.weight", None),
    ]
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"stride": (1, 2), "padding": (2, 1), "dilation": (1, 2)},
        {"padding": "same", "dilation": 2},
        {"padding": "valid"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kernel", [(3, 2), (1, 1)], ids=str)
def test_convolutions(options, kernel):
    params = {"w": randn(4, 2, *kernel, seed=1), "b": randn(4, seed=2)}
    uses = check(lambda p, x: torch.tanh(F.conv2d(x, p["w"], p["b"], **options)), params, IMAGES, recognised={"w", "b"})
    (use,) = uses.uses
    assert use.matrix_shape == (4, 2 * kernel[0] * kernel[1])


def test_a_convolution_whose_weight_is_reshaped_first():
    params = {"w": randn(4, 6, seed=1)}
    check(lambda p, x: F.conv2d(x, p["w"].reshape(4, 2, 3, 1)), params, IMAGES, recognised={"w"})


@pytest.mark.parametrize(
    ("f", "named"),
    [
        (lambda p, x: torch.tanh(x @ p["w"]) * p["b"], "mul"),
        (lambda p, x: x @ torch.exp(p["w"]) + p["b"].exp(), "exp"),
        (lambda p, x: x @ p["w"][:, [2, 0, 1]] + p["b"][[0, 2, 1]], "__getitem__"),
        (lambda p, x: torch.einsum("ni,io->no", x, p["w"]) + torch.stack([p["b"]]), ""),
        (lambda p, x: F.linear(x, p["w"].T, 2 * p["b"]), "mul"),
        (lambda p, x: x @ p["w"].T.reshape(4, 3) + p["b"], "reshape"),
        (lambda p, x: (p["w"].T @ x.T).T + p["b"], "matmul"),
        (lambda p, x: (x[:1] @ p["w"] + p["b"]) * x[:, :1], "first axis"),
        (lambda p, x: x @ p["w"] + (p["w"] + p["b"]).sum(0), "add"),
        (lambda p, x: x @ (torch.eye(4, dtype=DOUBLE) @ p["w"]) + p["b"].expand(N, 3), "expand"),
        (lambda p, x: torch.add(x @ p["w"], p["b"], alpha=2), "add"),
        (lambda p, x: torch.addmm(p["b"], x, p["w"], alpha=2), "addmm"),
        (lambda p, x: Twice.apply(x @ p["w"]) + Twice.apply(p["b"]), "does not show"),
        (lambda p, x: x @ p["w"] + p["b"] + Twice.apply(p["b"]) + 0 * p["w"].sum(), "does not show"),
    ],
)
def test_other_uses_are_never_missed(f, named):
    params = {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}
    uses = be.parameter_uses(f, params, X)
    assert uses.unrecognised
    assert any(named in reason for reason in uses.unrecognised.values()), uses.unrecognised
    recognised = set(params) - set(uses.unrecognised)
    check(f, params, X, recognised=recognised, unrecognised=set(uses.unrecognised))


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


def test_a_parameter_with_a_good_use_and_another():
    def f(p, x):
        return (x @ p["w"] + p["b"]) * p["b"]

    uses = check(f, {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}, X, recognised={"w"}, unrecognised={"b"})
    assert uses.uses[0].bias == "b"  # incomplete, and said so


def test_uses_that_reach_nothing_do_not_count():
    def f(p, x):
        _ = (x @ p["b"][:, None][:1]) if False else torch.exp(p["w"]).sum()
        with torch.no_grad():
            _ = x @ p["w"]
        return (x @ p["w"] + p["w"].detach().sum()) * (p["w"] > 0).sum() + p["w"].shape[0]

    check(f, {"w": randn(4, 3, seed=1), "b": randn(3, seed=2)}, X, recognised={"w"}, unused={"b"})


def test_what_reaches_nothing_does_not_hide_what_does():
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


def test_composite_layers_are_unrecognised():
    attention = nn.MultiheadAttention(4, 2, batch_first=True).double()
    params = dict(attention.named_parameters())
    uses = be.parameter_uses(lambda p, x: torch.func.functional_call(attention, p, (x, x, x))[0], params, X3)
    assert set(uses.unrecognised) == set(params)
    assert "multi_head_attention" in uses.unrecognised["in_proj_weight"]


def test_layers_beside_what_is_unrecognised():
    net = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2)).double()
    params = dict(net.named_parameters())
    norm = {"1.weight", "1.bias"}
    uses = check(
        lambda p, x: torch.func.functional_call(net, p, (x,)),
        params,
        X,
        recognised=set(params) - norm,
        unrecognised=norm,
    )
    assert "layer_norm" in uses.unrecognised["1.weight"]


def test_functions_of_no_parameter():
    uses = check(lambda p, x: x * 2, {"w": randn(4, 3)}, X, recognised=set(), unused={"w"})
    assert uses.uses == ()


def test_inputs_may_be_a_tree_or_nothing():
    params = {"w": randn(4, 3, seed=1)}
    check(lambda p, x: x["a"][0] @ p["w"], params, {"a": [X]}, recognised={"w"})
    uses = be.parameter_uses(lambda p, x: p["w"] ** 2, params, None)
    assert set(uses.unrecognised) == {"w"}
    with pytest.raises(cv.ModelError, match="tuple"):
        be.parameter_uses(lambda p, x: (x @ p["w"],), params, X)


def test_backward_passes_that_cannot_be_mapped_are_looped():
    class Stubborn(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return g * float(g.shape[0] == N) * (1.0 if float(g.abs().sum()) >= 0 else 0.0)

    check(lambda p, x: Stubborn.apply(x @ p["w"]), {"w": randn(4, 3, seed=1)}, X, recognised={"w"})


class Witness(torch.autograd.Function):
    """Leaves an object in the graph, which lives as long as the graph."""

    @staticmethod
    def forward(ctx, x, left):
        ctx.left = left
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g, None


class Left:
    """What is left in the graph."""


def test_the_graph_is_freed_with_the_object():
    left = Left()
    alive = weakref.ref(left)
    holder = [left]
    del left

    gc.disable()
    try:
        uses = be.parameter_uses(lambda p, x: Witness.apply(x @ p["w"], holder.pop()) * 2, {"w": randn(4, 3)}, X)
        uses.cotangents(randn(1, N, 3))
        uses.pull(randn(N, 3))
        kept, outputs = uses.uses, uses.outputs
        assert alive() is not None
        del uses
        assert alive() is None
        assert kept[0].inputs is not None
        assert outputs.shape == (N, 3)
    finally:
        gc.enable()
