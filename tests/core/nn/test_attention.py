"""Attention against PyTorch's, with masks, and its block of projections against ``torch.nn.MultiheadAttention``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import curvature as cv
from curvature import nn

from .conftest import Library, assert_agrees

RNG = np.random.default_rng(2)
N, T, S, WIDTH, HEADS = 2, 3, 4, 6, 2
ARRAYS = {
    "q": RNG.standard_normal((N, T, WIDTH)),
    "k": RNG.standard_normal((N, S, WIDTH)),
    "v": RNG.standard_normal((N, S, WIDTH)),
}
PADDING = np.array([[True, True, False, True], [False, True, True, True]])[:, None, None, :]
PER_HEAD = np.random.default_rng(3).random((HEADS, T, S)) < 0.7
PER_HEAD[:, :, 0] = True


def _torch_attention(p: Any, heads: int, mask: np.ndarray | None, causal: bool) -> Any:
    """By loops over heads, with -inf: another way than ours."""
    d = p["q"].shape[-1] // heads
    results = []
    allowed = np.ones((N, heads, T, S), bool) if mask is None else np.broadcast_to(mask, (N, heads, T, S)).copy()
    if causal:
        allowed &= np.tril(np.ones((T, S), bool))
    for h in range(heads):
        q, k, v = (p[name][..., h * d : (h + 1) * d] for name in "qkv")
        scores = (q @ k.mT / d**0.5).masked_fill(~torch.from_numpy(allowed[:, h]), -torch.inf)
        results.append(torch.softmax(scores, dim=-1) @ v)
    return torch.cat(results, dim=-1)


@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, PADDING], ids=["all", "padding"])
def test_values_and_gradients(library: Library, heads: int, causal: bool, mask: np.ndarray | None) -> None:
    if causal and mask is not None:
        mask = mask | (np.arange(S) == 0)  # every query sees something
    shown = None if mask is None else library.array(mask)
    assert_agrees(
        library,
        lambda p: nn.attention(p["q"], p["k"], p["v"], heads=heads, mask=shown, causal=causal),
        lambda p: _torch_attention(p, heads, mask, causal),
        ARRAYS,
    )


def test_a_mask_for_each_head(library: Library) -> None:
    shown = library.array(PER_HEAD)
    assert_agrees(
        library,
        lambda p: nn.attention(p["q"], p["k"], p["v"], heads=HEADS, mask=shown),
        lambda p: _torch_attention(p, HEADS, PER_HEAD, False),
        ARRAYS,
    )


def test_a_query_that_may_see_nothing_gets_zeros_and_gives_no_gradient(library: Library) -> None:
    mask = np.ones((T, S), bool)
    mask[1] = False
    shown = library.array(mask)
    value, pull = library.be.vjp(lambda p: nn.attention(p["q"], p["k"], p["v"], heads=HEADS, mask=shown), library.tree(ARRAYS))
    values, pulled = library.host(value), pull(library.array(np.ones((N, T, WIDTH))))
    np.testing.assert_array_equal(values[:, 1], 0.0)
    np.testing.assert_array_equal(library.host(pulled["q"])[:, 1], 0.0)
    for name in "qkv":
        assert np.all(np.isfinite(library.host(pulled[name])))
    seen = {name: a[:, [0, 2]] if name == "q" else a for name, a in ARRAYS.items()}
    alone = nn.attention(*(library.array(seen[name]) for name in "qkv"), heads=HEADS)
    np.testing.assert_allclose(values[:, [0, 2]], library.host(alone), rtol=1e-12)


def test_large_scores_do_not_overflow(library: Library) -> None:
    """The weights of far larger scores tend to one: attention becomes choice."""
    eye = np.eye(3)[None]
    v = RNG.standard_normal((1, 3, 3))
    found = nn.attention(library.array(1e5 * eye), library.array(eye), library.array(v))
    np.testing.assert_allclose(library.host(found), v, rtol=1e-12)


@pytest.mark.parametrize("fused", [True, False])
def test_the_block_is_multihead_attention(library: Library, fused: bool) -> None:
    module = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.from_numpy(RNG.standard_normal(tuple(p.shape))))
    x = RNG.standard_normal((N, T, WIDTH))
    inputs = torch.from_numpy(x)
    past = torch.ones(T, T, dtype=torch.bool).triu(1)
    expected = module(inputs, inputs, inputs, attn_mask=past, need_weights=False)[0].detach().numpy()
    weight, bias = (p.detach().numpy() for p in (module.in_proj_weight, module.in_proj_bias))
    out = {"weight": module.out_proj.weight.detach().numpy(), "bias": module.out_proj.bias.detach().numpy()}
    if fused:
        params = {"qkv": {"weight": weight, "bias": bias}, "out": out}
    else:
        rows = {name: slice(i * WIDTH, (i + 1) * WIDTH) for i, name in enumerate(("query", "key", "value"))}
        params = {name: {"weight": weight[r], "bias": bias[r]} for name, r in rows.items()} | {"out": out}
    moved = {name: library.tree(part) for name, part in params.items()}
    found = nn.self_attention(moved, library.array(x), heads=HEADS, causal=True)
    np.testing.assert_allclose(library.host(found), expected, rtol=1e-11, atol=1e-12)


def test_the_tracer_sees_every_projection() -> None:
    d = 4
    params = {
        name: {"weight": RNG.standard_normal((d, d)), "bias": RNG.standard_normal(d)} for name in ("key", "out", "query", "value")
    }
    uses = cv.backend("numpy").parameter_uses(
        lambda p, x: nn.self_attention(p, x, heads=2, causal=True), params, RNG.standard_normal((2, 3, d))
    )
    assert uses.unrecognised == {}
    assert sorted((use.kind, use.parameter, use.bias) for use in uses.uses) == [
        ("linear", f"{name}.weight", f"{name}.bias") for name in sorted(params)
    ]


def test_hessian_products(library: Library) -> None:
    direction = {name: RNG.standard_normal(a.shape) for name, a in ARRAYS.items()}

    def ours(p: Any) -> Any:
        y = nn.attention(p["q"], p["k"], p["v"], heads=HEADS, causal=True)
        return cv.namespace(y).sum(y * y * y)

    def theirs(*qkv: Any) -> Any:
        return (_torch_attention(dict(zip("qkv", qkv, strict=True)), HEADS, None, True) ** 3).sum()

    points, tangents = (tuple(torch.from_numpy(tree[name]) for name in "qkv") for tree in (ARRAYS, direction))
    _, expected = torch.autograd.functional.hvp(theirs, points, tangents)
    found = library.be.hvp(ours, library.tree(ARRAYS), library.tree(direction))
    for name, values in zip("qkv", expected, strict=True):
        np.testing.assert_allclose(library.host(found[name]), values.numpy(), rtol=1e-9, atol=1e-10, err_msg=name)


Q = np.zeros((2, 3, 4))
SQUARE = {"weight": np.zeros((4, 4))}


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.attention(Q[0], Q, Q), cv.ShapeError, ["(3, 4)", "(N, T, heads · d)"]),
        (lambda: nn.attention(Q, Q[:, :, :2], Q), cv.ShapeError, ["(2, 3, 2)"]),
        (lambda: nn.attention(Q, Q, Q[:, :2]), cv.ShapeError, ["(2, 2, 4)"]),
        (lambda: nn.attention(Q, Q[:, :0], Q[:, :0]), cv.ShapeError, ["at least one position"]),
        (lambda: nn.attention(Q, Q, Q, heads=3), cv.ShapeError, ["heads=3", "width of 4"]),
        (lambda: nn.attention(Q, Q, Q, heads=0), cv.ShapeError, ["heads=0"]),
        (lambda: nn.attention(Q, Q, Q, mask=np.zeros((3, 3))), cv.DataError, ["float64", "booleans"]),
        (lambda: nn.attention(Q, Q, Q, mask=np.ones((2, 3), bool)), cv.ShapeError, ["(2, 3)", "(2, 1, 3, 3)", "padding[:, None"]),
        (lambda: nn.self_attention({"qkv": SQUARE}, Q), cv.ShapeError, ["['qkv']", '"query"']),
        (lambda: nn.self_attention({"qkv": SQUARE, "out": SQUARE}, Q), cv.ShapeError, ['"qkv" has 4 outputs']),
    ],
)
def test_what_does_not_fit_is_named(call: Any, error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value
