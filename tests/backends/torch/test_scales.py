"""Parameters that multiply elementwise: products, norms of every kind, parametric activations."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

N = 5


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, IMAGES = randn(N, 4, seed=1), randn(N, 2, 3, 4, seed=3)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (3, 4), (1, 3, 4), (2, 1, 1), (1, 2, 1, 4), (1, 1, 1, 1)])
@pytest.mark.parametrize(
    "f",
    [
        lambda w, x: x * w,
        lambda w, x: w * x,
        lambda w, x: torch.mul(x, w),
        lambda w, x: w.multiply(x),
        lambda w, x: torch.tanh(x).mul_(w),
    ],
)
def test_products(check, f, shape):
    params = {"w": randn(*shape, seed=4)}
    uses = check(lambda p, x: torch.tanh(f(p["w"], x)), params, IMAGES, recognised={"w"})
    size = params["w"].numel()
    assert [(u.kind, u.matrix_shape, u.inputs.shape[-1], u.entries) for u in uses.uses] == [("scale", (1, size), size, None)]


def test_a_scale_and_its_bias(check):
    params = {"w": randn(2, 1, 1, seed=4), "b": randn(2, 1, 1, seed=5)}
    uses = check(lambda p, x: torch.tanh(x * p["w"] + p["b"]), params, IMAGES, recognised={"w", "b"})
    assert [(u.kind, u.bias) for u in uses.uses] == [("scale", "b")]
    params["b"] = randn(4, seed=5)
    uses = check(lambda p, x: torch.tanh(x * p["w"] + p["b"]), params, IMAGES, recognised={"w", "b"})
    assert [(u.kind, u.bias) for u in uses.uses] == [("scale", None), ("shift", None)]


def test_a_transposed_scale_says_which_entries(check):
    uses = check(lambda p, x: torch.tanh(x * p["w"].T), {"w": randn(4, 3, seed=1)}, IMAGES, recognised={"w"})
    assert uses.uses[0].entries.tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]


def test_what_is_broadcast_by_the_scale(check):
    uses = check(lambda p, x: torch.tanh(x[:, None] * p["w"]), {"w": randn(3, 4, seed=4)}, X, recognised={"w"})
    assert uses.uses[0].inputs.shape == (N, 12)


def test_a_mask_times_a_scale(check):
    uses = check(lambda p, x: (x > 0) * p["w"] * x, {"w": randn(4, seed=4)}, X, recognised={"w"})
    assert uses.uses[0].inputs.dtype == torch.float64


def test_inputs_that_are_scaled_in_place_are_kept(check):
    def f(p, x):
        h = torch.tanh(x)
        h *= p["w"]
        return h * p["w"]

    check(f, {"w": randn(4, seed=4)}, X, recognised={"w"})


def running(norm, seed=7):
    for name, buffer in norm.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(randn(*buffer.shape, seed=seed).abs() + 0.5 if "var" in name else randn(*buffer.shape, seed=seed))
    return norm


NORMS = {
    "LayerNorm": nn.LayerNorm(4),
    "LayerNorm over two axes": nn.LayerNorm((3, 4), eps=0.1),
    "LayerNorm without bias": nn.LayerNorm(4, bias=False),
    "RMSNorm": nn.RMSNorm(4),
    "GroupNorm": nn.GroupNorm(2, 2),
    "BatchNorm": running(nn.BatchNorm2d(2).double()).eval(),
    "BatchNorm without statistics": nn.BatchNorm2d(2, eps=0.1),
    "InstanceNorm": nn.InstanceNorm2d(2, affine=True),
    "InstanceNorm with statistics": running(nn.InstanceNorm2d(2, affine=True, track_running_stats=True).double()).eval(),
    "PReLU": nn.PReLU(),
    "PReLU of channels": nn.PReLU(2),
}


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS.keys())
def test_norms(check, norm):
    norm = norm.double()
    params = {name: randn(*p.shape, seed=i) for i, (name, p) in enumerate(norm.named_parameters())}
    uses = check(lambda p, x: torch.tanh(torch.func.functional_call(norm, p, (x,))), params, IMAGES, recognised=set(params))
    bias = "bias" if "bias" in params else None
    assert [(u.kind, u.parameter, u.bias) for u in uses.uses] == [("scale", "weight", bias)]


def test_a_norm_with_a_bias_alone(check):
    uses = check(lambda p, x: F.layer_norm(x, (4,), None, p["b"]), {"b": randn(4, seed=1)}, IMAGES, recognised={"b"})
    assert [u.kind for u in uses.uses] == ["shift"]


def test_two_dimensional_batch_norm_and_prelu(check):
    norm = nn.Sequential(running(nn.BatchNorm1d(4).double()).eval(), nn.PReLU(4)).double()
    params = {name: randn(*p.shape, seed=i) for i, (name, p) in enumerate(norm.named_parameters())}
    check(lambda p, x: torch.func.functional_call(norm, p, (x,)), params, X, recognised=set(params))
