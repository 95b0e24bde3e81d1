"""Convolutions of every geometry against PyTorch's, and as a linear map of patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature import nn

from .conftest import Library, assert_agrees

RNG = np.random.default_rng(0)


@st.composite
def geometries(draw: Any) -> dict[str, Any]:
    """Images, kernels and steps that fit each other."""
    groups = draw(st.integers(1, 3))
    step = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = draw(step)
    padding = draw(st.one_of(st.integers(0, 2), st.tuples(st.integers(0, 2), st.integers(0, 2)), st.just("valid")))
    spread = dilation if isinstance(dilation, tuple) else (dilation, dilation)
    reach = [gap * (size - 1) + 1 for gap, size in zip(spread, kernel, strict=True)]
    image = [r + draw(st.integers(0, 3)) for r in reach]
    c_in, c_out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    return {
        "x": (draw(st.integers(1, 2)), c_in, *image),
        "weight": (c_out, c_in // groups, *kernel),
        "bias": draw(st.booleans()),
        "options": {"stride": draw(step), "padding": padding, "dilation": dilation, "groups": groups},
    }


def arrays_of(geometry: dict[str, Any]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    arrays = {name: rng.standard_normal(geometry[name]) for name in ("x", "weight")}
    return arrays | ({"bias": rng.standard_normal(geometry["weight"][0])} if geometry["bias"] else {})


def test_every_geometry_is_that_of_torch(library: Library) -> None:
    # JAX compiles each operation for every shape anew.
    @settings(max_examples=4 if library.name == "jax" else 30, deadline=None)
    @given(geometry=geometries())
    def agrees(geometry: dict[str, Any]) -> None:
        options = geometry["options"]
        assert_agrees(
            library,
            lambda p: nn.conv2d(p["x"], p["weight"], p.get("bias"), **options),
            lambda p: torch.nn.functional.conv2d(p["x"], p["weight"], p.get("bias"), **options),
            arrays_of(geometry),
        )

    agrees()


@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (3, 2), (4, 4)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_keeps_the_size_as_torch_does(library: Library, kernel: tuple[int, int], dilation: int) -> None:
    arrays = {"x": RNG.standard_normal((2, 2, 5, 7)), "weight": RNG.standard_normal((3, 2, *kernel))}
    options = {"padding": "same", "dilation": dilation}
    assert_agrees(
        library,
        lambda p: nn.conv2d(p["x"], p["weight"], **options),
        lambda p: torch.nn.functional.conv2d(p["x"], p["weight"], **options),
        arrays,
    )


@pytest.mark.parametrize("stride", [2, 3, (1, 4)])
def test_same_padding_with_strides_gives_the_ceiling_and_is_that_of_xla(library: Library, stride: Any, x64: Any) -> None:
    x, weight = RNG.standard_normal((2, 2, 7, 8)), RNG.standard_normal((3, 2, 3, 2))
    steps = (stride, stride) if isinstance(stride, int) else stride
    found = nn.conv2d(library.array(x), library.array(weight), stride=stride, padding="same")
    assert tuple(found.shape[2:]) == (-(-7 // steps[0]), -(-8 // steps[1]))
    expected = x64.lax.conv_general_dilated(x, weight, steps, "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
    np.testing.assert_allclose(library.host(found), np.asarray(expected), rtol=1e-12, atol=1e-12)


def _uses(arrays: dict[str, np.ndarray], **options: Any) -> cv.ParameterUses:
    def model(params: Any, x: Any) -> Any:
        return cv.namespace(x).mean(nn.conv2d(x, params["weight"], params["bias"], **options), axis=(2, 3))

    return cv.backend("numpy").parameter_uses(model, {name: arrays[name] for name in ("weight", "bias")}, arrays["x"])


@pytest.mark.parametrize(("stride", "padding", "pads"), [(1, "same", (0, 1, 1, 1)), (2, 1, (1, 1, 1, 1)), (1, 0, (0, 0, 0, 0))])
def test_the_tracer_sees_one_linear_map_of_patches(stride: int, padding: Any, pads: tuple[int, ...]) -> None:
    arrays = {"x": RNG.standard_normal((2, 2, 5, 4)), "weight": RNG.standard_normal((3, 2, 3, 2)), "bias": RNG.standard_normal(3)}
    uses = _uses(arrays, stride=stride, padding=padding)
    assert (uses.unrecognised, uses.unused) == ({}, ())
    (use,) = uses.uses
    assert (use.kind, use.parameter, use.bias, use.matrix_shape, use.transposed) == ("linear", "weight", "bias", (3, 12), True)
    padded = torch.nn.functional.pad(torch.from_numpy(arrays["x"]), pads)
    expected = torch.nn.functional.unfold(padded, (3, 2), stride=stride).mT.numpy()
    np.testing.assert_array_equal(use.inputs, expected)


def test_the_tracer_sees_the_groups() -> None:
    """One use of weight and bias together, whose inputs are all patches: those of a group lie together."""
    arrays = {"x": RNG.standard_normal((2, 4, 5, 4)), "weight": RNG.standard_normal((6, 2, 3, 2)), "bias": RNG.standard_normal(6)}
    uses = _uses(arrays, groups=2)
    assert (uses.unrecognised, uses.unused) == ({}, ())
    (use,) = uses.uses
    assert (use.kind, use.parameter, use.bias, use.matrix_shape, use.groups) == ("linear", "weight", "bias", (6, 12), 2)
    expected = torch.nn.functional.unfold(torch.from_numpy(arrays["x"]), (3, 2)).mT.numpy()
    np.testing.assert_array_equal(use.inputs, expected)


@pytest.mark.parametrize(
    ("x", "weight", "options", "words"),
    [
        ((2, 5, 4), (3, 2, 3, 2), {}, ["(2, 5, 4)", "(N, c_in, H, W)"]),
        ((1, 2, 5, 4), (3, 2, 3), {}, ["(3, 2, 3)", "(c_out, c_in / groups, h, w)"]),
        ((1, 2, 5, 4), (0, 2, 3, 3), {}, ["(0, 2, 3, 3)"]),
        ((1, 3, 5, 4), (3, 2, 3, 2), {}, ["3 channels", "(3, 2, 3, 2)", "groups=1"]),
        ((1, 4, 5, 4), (3, 2, 3, 2), {"groups": 2}, ["groups=2", "multiple of 2"]),
        ((1, 2, 5, 4), (3, 2, 3, 2), {"dilation": 3}, ["7 rows", "in 5"]),
        ((1, 2, 5, 0), (3, 2, 1, 1), {"padding": 1}, ["columns"]),
    ],
)
def test_shapes_that_do_not_fit_are_named(x: Any, weight: Any, options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(cv.ShapeError) as caught:
        nn.conv2d(np.zeros(x), np.zeros(weight), **options)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_bias_of_the_wrong_length_is_named() -> None:
    with pytest.raises(cv.ShapeError, match=r"conv2d: the bias has shape \(2,\), expected \(3,\)"):
        nn.conv2d(np.zeros((1, 2, 5, 4)), np.zeros((3, 2, 3, 2)), np.zeros(2))


@pytest.mark.parametrize(
    "options", [{"stride": 0}, {"stride": 1.5}, {"padding": -1}, {"padding": "reflect"}, {"dilation": (1, 2, 3)}, {"groups": 0}]
)
def test_steps_that_make_no_sense_are_named(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=name):
        nn.conv2d(np.zeros((1, 2, 5, 4)), np.zeros((3, 2, 3, 2)), **options)
