"""Hessian-vector products assembled from the layers, against the full Hessian, however parameters enter."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import curvature as cv
from curvature.backend import Keyed

BACKEND = cv.backend("torch")
X = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(3, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def affine_by_operators(p):
    return torch.tanh(X @ p["w"] + p["b"]) @ p["v"]


def affine_by_function(p):
    return F.linear(torch.tanh(F.linear(X, p["w"].T, p["b"])), p["v"].mT)


def transposed_weight(p):
    return torch.tanh(X @ p["w"].T.T + p["b"]) @ p["v"]


def weight_used_twice(p):
    return torch.tanh(torch.tanh(X @ p["s"]) @ p["s"]) @ p["w"] @ p["v"]


def tied_in_two_orientations(p):
    return torch.tanh(X @ p["s"]) @ p["s"].T @ p["w"]


def bias_of_two_layers(p):
    hidden = torch.tanh(X @ p["w"] + p["b"])
    return torch.tanh(hidden @ p["q"] + p["b"])


def bias_also_a_lone_shift(p):
    hidden = torch.tanh(X @ p["w"] + p["b"])
    return torch.tanh(hidden**2 + p["b"]) @ p["v"]


def bias_also_a_scale(p):
    return torch.tanh(X @ p["w"] + p["b"]) * p["b"]


def weight_also_in_a_norm(p):
    return torch.tanh(X @ p["w"] + p["b"]) + (p["w"] ** 2).sum()


def weight_in_both_operands(p):
    return torch.tanh(X @ p["s"] @ (p["s"] @ p["s"]))


def scaled(p):
    return torch.tanh((X * p["d"]) @ p["w"] + p["b"])


def overwritten_in_place(p):
    hidden = X @ p["w"] + p["b"]
    hidden.tanh_()
    hidden = hidden * 2
    hidden += p["b"]
    return F.relu(hidden, inplace=True) @ p["v"]


def convolution_and_product(p):
    hidden = torch.tanh(F.conv2d(IMAGES, p["k"], p["c"])).flatten(1)
    return hidden @ p["t"]


def convolution_and_product_of_one_weight(p):
    hidden = torch.tanh(F.conv2d(IMAGES, p["k"], p["c"]))
    return hidden.flatten(2)[..., :4] @ p["k"].reshape(2, 4).T


def layer_norm(p):
    return F.layer_norm(X @ p["w"] + p["b"], (3,), p["g"], p["b"]) @ p["v"]


def vector_weight(p):
    return torch.tanh(X @ p["d"])


def constant(p):
    return X


SHAPES = {
    "w": (4, 3),
    "b": (3,),
    "v": (3, 2),
    "s": (4, 4),
    "q": (3, 3),
    "d": (4,),
    "k": (2, 1, 2, 2),
    "c": (2,),
    "t": (18, 2),
    "g": (3,),
}
MODELS = [
    affine_by_operators,
    affine_by_function,
    transposed_weight,
    weight_used_twice,
    tied_in_two_orientations,
    bias_of_two_layers,
    bias_also_a_lone_shift,
    bias_also_a_scale,
    weight_also_in_a_norm,
    weight_in_both_operands,
    scaled,
    overwritten_in_place,
    convolution_and_product,
    convolution_and_product_of_one_weight,
    layer_norm,
    vector_weight,
    constant,
]


@pytest.mark.parametrize("loss", [lambda y: torch.logsumexp(y.flatten(), 0) + (y**3).mean()], ids=["smooth"])
@pytest.mark.parametrize("model", MODELS, ids=lambda f: f.__name__)
def test_it_is_the_hessian_times_the_vector(model, loss):
    generator = torch.Generator().manual_seed(2)
    params = {n: 0.5 * torch.randn(s, dtype=torch.float64, generator=generator) for n, s in SHAPES.items()}
    tangent = {n: torch.randn(s, dtype=torch.float64, generator=generator) for n, s in SHAPES.items()}
    names = sorted(SHAPES)

    def flat(*arrays):
        return loss(model(dict(zip(names, arrays, strict=True))).clone())

    _, expected = torch.autograd.functional.hvp(flat, tuple(params[n] for n in names), tuple(tangent[n] for n in names))
    product = BACKEND.hvp(lambda p: loss(model(p)), params, tangent)
    for name, value in zip(names, expected, strict=True):
        torch.testing.assert_close(product[name], value, rtol=1e-11, atol=1e-12, msg=lambda m, name=name: f"{name}: {m}")
        assert not product[name].requires_grad


@pytest.mark.parametrize("model", MODELS, ids=lambda f: f.__name__)
def test_a_map_has_the_same_products_each_time(model):
    generator = torch.Generator().manual_seed(3)
    params = {n: 0.5 * torch.randn(s, dtype=torch.float64, generator=generator) for n, s in SHAPES.items()}
    tangents = [{n: torch.randn(s, dtype=torch.float64, generator=generator) for n, s in SHAPES.items()} for _ in range(2)]
    closure = Keyed(lambda p, data: torch.logsumexp(model(p).flatten(), 0), ("test", model), {}).on(None)
    for function in (closure, lambda p: closure(p)):
        product = BACKEND.hessian_map(function, params)
        for tangent in (*tangents, tangents[0]):
            found, expected = product(tangent), BACKEND.hvp(lambda p: closure(p), params, tangent)
            for name, value in expected.items():
                torch.testing.assert_close(found[name], value, rtol=1e-11, atol=1e-12)
                assert not found[name].requires_grad
