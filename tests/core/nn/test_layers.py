"""Linear maps, normalisation, embeddings and activations against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import curvature as cv
from curvature import nn

from .conftest import Library, assert_agrees

F = torch.nn.functional
RNG = np.random.default_rng(1)
X, W, B = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((5, 4)), RNG.standard_normal(5)


@pytest.mark.parametrize("x", [X, X[0], X[0, 0]], ids=["(N, T, d)", "(N, d)", "(d,)"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_linear(library: Library, x: np.ndarray, with_bias: bool) -> None:
    arrays = {"x": x, "weight": W} | ({"bias": B} if with_bias else {})
    assert_agrees(
        library,
        lambda p: nn.linear(p["x"], p["weight"], p.get("bias")),
        lambda p: F.linear(p["x"], p["weight"], p.get("bias")),
        arrays,
    )


@pytest.mark.parametrize("given", [(), ("weight",), ("bias",), ("weight", "bias")], ids=str)
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_layer_norm(library: Library, given: tuple[str, ...], eps: float) -> None:
    arrays = {"x": X, **{name: RNG.standard_normal(4) for name in given}}
    assert_agrees(
        library,
        lambda p: nn.layer_norm(p["x"], p.get("weight"), p.get("bias"), eps=eps),
        lambda p: F.layer_norm(p["x"], (4,), p.get("weight"), p.get("bias"), eps),
        arrays,
    )


@pytest.mark.parametrize(
    "indices", [np.array([2, 0, 2, 1]), np.array([[0, 1, 1], [2, 2, 2]]), np.array(1)], ids=["T", "(N, T)", "()"]
)
def test_embedding_takes_rows_that_may_repeat(library: Library, indices: np.ndarray) -> None:
    table = RNG.standard_normal((3, 4))
    chosen = library.array(indices)
    assert_agrees(
        library,
        lambda p: nn.embedding(chosen, p["weight"]),
        lambda p: F.embedding(torch.from_numpy(indices), p["weight"]),
        {"weight": table},
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (nn.relu, F.relu),
        (nn.gelu, lambda x: F.gelu(x, approximate="tanh")),
        (nn.softmax, lambda x: F.softmax(x, dim=-1)),
        (lambda x: nn.softmax(x, axis=1), lambda x: F.softmax(x, dim=1)),
        (nn.log_softmax, lambda x: F.log_softmax(x, dim=-1)),
        (lambda x: nn.log_softmax(x, axis=0), lambda x: F.log_softmax(x, dim=0)),
    ],
    ids=["relu", "gelu", "softmax", "softmax-1", "log_softmax", "log_softmax-0"],
)
def test_activations(library: Library, ours: Any, theirs: Any) -> None:
    assert_agrees(library, lambda p: ours(p["x"]), lambda p: theirs(p["x"]), {"x": 2 * X})


def test_softmax_of_large_numbers_is_finite_and_exact(library: Library) -> None:
    """softmax(0, log 3) = (1/4, 3/4), at 1e4 and -1e4 as well; of far smaller numbers the logarithm is their distance."""
    for shift in (0.0, 1e4, -1e4):
        x = library.array(np.array([shift, shift + np.log(3.0)]))
        np.testing.assert_allclose(library.host(nn.softmax(x)), [0.25, 0.75], rtol=1e-11)
        np.testing.assert_allclose(library.host(nn.log_softmax(x)), np.log([0.25, 0.75]), rtol=1e-11)
    far = nn.log_softmax(library.array(np.array([0.0, -1e4])))
    np.testing.assert_array_equal(library.host(far), [0.0, -1e4])


def test_relu_has_derivative_zero_at_zero_and_keeps_nan(library: Library) -> None:
    _, pull = library.be.vjp(nn.relu, library.array(np.array([-1.0, 0.0, 2.0])))
    np.testing.assert_array_equal(library.host(pull(library.array(np.ones(3)))), [0.0, 0.0, 1.0])
    np.testing.assert_array_equal(
        library.host(nn.relu(library.array(np.array([np.nan, np.inf, -np.inf])))), [np.nan, np.inf, 0.0]
    )


def test_mlp_is_a_composition(library: Library) -> None:
    arrays = {"x": X[0], "w0": W, "b0": B, "w1": RNG.standard_normal((2, 5))}

    def theirs(p: Any) -> Any:
        return torch.tanh(p["x"] @ p["w0"].T + p["b0"]) @ p["w1"].T

    def ours(p: Any) -> Any:
        xp = cv.namespace(p["x"])
        return nn.mlp([{"weight": p["w0"], "bias": p["b0"]}, {"weight": p["w1"]}], p["x"], xp.tanh)

    assert_agrees(library, ours, theirs, arrays)


def test_hessian_products_go_through_every_layer(library: Library) -> None:
    """∇²φ v against PyTorch's, for a function that uses all layers here."""
    arrays = {"scale": RNG.standard_normal(4), "table": RNG.standard_normal((3, 4)), "weight": W}
    direction = {name: RNG.standard_normal(values.shape) for name, values in arrays.items()}
    indices = np.array([[0, 2], [2, 2]])
    chosen = library.array(indices)

    def ours(p: Any) -> Any:
        h = nn.layer_norm(nn.embedding(chosen, p["table"]), p["scale"])
        y = nn.log_softmax(nn.gelu(nn.linear(h, p["weight"])))
        return cv.namespace(y).sum(y * y)

    def theirs(scale: Any, table: Any, weight: Any) -> Any:
        h = F.layer_norm(F.embedding(torch.from_numpy(indices), table), (4,), scale)
        return (F.log_softmax(F.gelu(F.linear(h, weight), approximate="tanh"), dim=-1) ** 2).sum()

    points, tangents = ([torch.from_numpy(tree[name]) for name in sorted(tree)] for tree in (arrays, direction))
    _, expected = torch.autograd.functional.hvp(theirs, tuple(points), tuple(tangents))
    found = library.be.hvp(ours, library.tree(arrays), library.tree(direction))
    for name, values in zip(sorted(arrays), expected, strict=True):
        np.testing.assert_allclose(library.host(found[name]), values.numpy(), rtol=1e-9, atol=1e-10, err_msg=name)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.linear(X, W.T), cv.ShapeError, ["(2, 3, 4)", "(…, 5)", "stored (d_out, d_in)"]),
        (lambda: nn.linear(np.zeros(()), W), cv.ShapeError, ["()"]),
        (lambda: nn.linear(X, B), cv.ShapeError, ["(5,)", "(d_out, d_in)"]),
        (lambda: nn.linear(X, W, B[:3]), cv.ShapeError, ["linear: the bias", "(3,)", "(5,)"]),
        (lambda: nn.layer_norm(X, B), cv.ShapeError, ["layer_norm: the weight", "(5,)", "(4,)"]),
        (lambda: nn.layer_norm(X, None, B), cv.ShapeError, ["layer_norm: the bias"]),
        (lambda: nn.layer_norm(np.zeros((2, 0))), cv.ShapeError, ["(2, 0)"]),
        (lambda: nn.embedding(np.array([0.0]), W), cv.DataError, ["float64", "integers"]),
        (lambda: nn.embedding(np.array([0]), B), cv.ShapeError, ["(5,)", "(n, d)"]),
        (lambda: nn.mlp([], X, np.tanh), cv.ShapeError, ["mlp", "empty"]),
        (lambda: nn.mlp([{"bias": B}], X, np.tanh), cv.ShapeError, ['"weight"', "['bias']"]),
        (lambda: nn.linear(X, torch.zeros(5, 4)), cv.MixedBackendError, ["torch"]),
    ],
)
def test_what_does_not_fit_is_named(call: Any, error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value
