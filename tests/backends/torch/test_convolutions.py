"""Convolutions as linear maps of patches: every setting, in one, two and three dimensions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import curvature as cv
from curvature_torch.backend import TorchBackend

be = TorchBackend()
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


IMAGES = randn(5, 4, 7, 6, seed=3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"stride": (1, 2), "padding": (2, 1), "dilation": (1, 2)},
        {"padding": "same", "dilation": 2},
        {"padding": "valid", "groups": 2},
        {"groups": 4, "padding": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("kernel", [(3, 2), (1, 1)], ids=str)
def test_settings(check, options, kernel):
    groups = options.get("groups", 1)
    params = {"w": randn(8, 4 // groups, *kernel, seed=1), "b": randn(8, seed=2)}
    uses = check(lambda p, x: torch.tanh(F.conv2d(x, p["w"], p["b"], **options)), params, IMAGES, recognised={"w", "b"})
    (use,) = uses.uses
    assert (use.kind, use.bias, use.groups, use.transposed) == ("linear", "b", groups, True)
    assert use.matrix_shape == (8, 4 // groups * kernel[0] * kernel[1])


@st.composite
def cases(draw):
    count = draw(st.integers(1, 3))
    several = lambda low, high: draw(st.tuples(*[st.integers(low, high)] * count))  # noqa: E731
    groups = draw(st.integers(1, 2))
    kernel, dilation, sizes = several(1, 3), several(1, 2), several(5, 6)
    same = draw(st.booleans())
    stride = (1,) * count if same else several(1, 3)
    padding = "same" if same else several(0, 2)
    channels = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    return count, groups, kernel, dilation, sizes, stride, padding, channels


@given(cases())
@settings(max_examples=40, deadline=None)
def test_the_patches_times_the_kernel_are_the_convolution(case):
    count, groups, kernel, dilation, sizes, stride, padding, (c_in, c_out) = case
    params = {"w": randn(groups * c_out, c_in, *kernel, seed=1), "b": randn(groups * c_out, seed=2)}
    x = randn(2, groups * c_in, *sizes, seed=3)

    def f(p, x):
        return CONVOLUTIONS[count](x, p["w"], p["b"], stride, padding, dilation, groups)

    uses = be.parameter_uses(f, params, x)
    (use,) = uses.uses
    blocks = use.inputs.unflatten(-1, (groups, -1))
    products = torch.einsum("ntgi,goi->ntgo", blocks, params["w"].reshape(groups, c_out, -1)).flatten(2) + params["b"]
    seeds = randn(1, *uses.outputs.shape, seed=4)
    torch.testing.assert_close(products.mT.reshape(uses.outputs.shape), uses.outputs)
    torch.testing.assert_close(uses.cotangents(seeds)[0], seeds.flatten(3).mT)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("kind", "x"), [(nn.Conv1d, randn(5, 2, 7)), (nn.Conv2d, randn(5, 2, 5, 4)), (nn.Conv3d, randn(3, 2, 3, 4, 3))]
)
def test_modules(check, kind, x, mode):
    net = nn.Sequential(kind(2, 4, 3, padding=1, padding_mode=mode), nn.ReLU(inplace=True), kind(4, 2, 2, groups=2, bias=False))
    net = net.double()
    params = {name: randn(*p.shape, seed=i) for i, (name, p) in enumerate(net.named_parameters())}
    uses = check(lambda p, x: torch.func.functional_call(net, p, (x,)), params, x, recognised=set(params))
    assert [(u.parameter, u.bias, u.groups) for u in uses.uses] == [("0.weight", "0.bias", 1), ("2.weight", None, 2)]


def test_a_bias_that_is_added_afterwards(check):
    params = {"w": randn(3, 4, 2, 2, seed=1), "b": randn(3, 1, 1, seed=2)}
    uses = check(lambda p, x: torch.tanh(F.conv2d(x, p["w"]) + p["b"]), params, IMAGES, recognised={"w", "b"})
    assert [u.bias for u in uses.uses] == ["b"]


def test_a_kernel_that_is_reshaped_or_turned_first(check):
    params = {"w": randn(4, 12, seed=1)}
    uses = check(lambda p, x: F.conv2d(x, p["w"].reshape(4, 4, 3, 1)), params, IMAGES, recognised={"w"})
    assert uses.uses[0].entries is None
    params = {"w": randn(4, 4, 2, 2, seed=1)}
    uses = check(lambda p, x: F.conv2d(x, p["w"].flip(-1).transpose(0, 1)), params, IMAGES, recognised={"w"})
    assert uses.uses[0].entries is not None


def test_frames_beside_examples(check):
    """A video: every frame of every example on the first axis."""
    params = {"w": randn(3, 4, 2, 2, seed=1), "b": randn(3, seed=2)}

    def f(p, x):
        frames = F.conv2d(x.flatten(0, 1), p["w"], p["b"])
        return torch.tanh(frames).unflatten(0, (5, 2)).sum(1)

    uses = check(f, params, randn(5, 2, 4, 3, 3), recognised={"w", "b"})
    assert uses.uses[0].inputs.shape == (5, 2, 4, 16)


def test_one_image_without_an_axis_of_examples_is_not_recognised(check):
    params = {"w": randn(3, 4, 2, 2, seed=1)}
    uses = check(
        lambda p, x: F.conv2d(x[0], p["w"])[None].expand(5, -1, -1, -1), params, IMAGES, recognised=(), unrecognised={"w"}
    )
    assert "conv2d" in uses.unrecognised["w"]


def test_curvature_of_a_grouped_convolution():
    params = {"w": randn(4, 2, 3, seed=1), "b": randn(4, seed=2), "v": randn(4, 3, seed=3)}

    def f(p, x):
        return torch.tanh(F.conv1d(x, p["w"], p["b"], groups=2)).mean(-1) @ p["v"]

    problem = cv.Problem((f, params), cv.Categorical(), (randn(5, 4, 6), torch.arange(5) % 3))
    assert {layer.name: layer.kind for layer in problem.structure.layers} == {"w+b": "grouped", "v": "affine"}
    fisher = cv.Fisher(problem)
    torch.testing.assert_close(cv.approximate(fisher, "exact").to_dense(), fisher.to_dense(), rtol=1e-9, atol=1e-12)
