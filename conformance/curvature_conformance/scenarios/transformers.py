"""Attention over tokens, with its embedding apart and tied to the head; references from Taylor arithmetic over loops."""

from __future__ import annotations

from typing import Any

import numpy as np

import curvature as cv
from curvature import nn

from ..scenario import Scenario
from . import layer_formulas as formulas
from .assemble import assemble
from .output_terms import categorical
from .taylor import Taylor, contract, derivatives

Array = Any

_VOCABULARY, _LENGTH, _WIDTH, _HIDDEN, _CLASSES = 4, 3, 3, 2, 2
_HEADS, _INNER = 2, 4  # attention is wider than the residual stream, so that the two cannot be mixed up


def _norm(params: dict[str, Array], x: Array) -> Array:
    return nn.layer_norm(x, params["weight"], params["bias"])


def _embedded(params: Any, tokens: Array) -> Array:
    table, positions = params["embedding"]["weight"], params["positions"]
    return cv.namespace(table).add(nn.embedding(tokens, table), positions)


def _block(params: Any, tokens: Array) -> Array:
    h = _embedded(params, tokens)
    h = h + nn.self_attention(params["attention"], _norm(params["norm1"], h), heads=_HEADS, causal=True)
    h = h + nn.mlp(params["mlp"], _norm(params["norm2"], h), nn.gelu)
    pooled = cv.namespace(h).mean(h, axis=1)
    return nn.linear(pooled, params["head"]["weight"], params["head"]["bias"])


def _tied(params: Any, tokens: Array) -> Array:
    h = _embedded(params, tokens)
    h = h + nn.self_attention(params["attention"], h, heads=_HEADS, causal=True)
    return nn.linear(_norm(params["norm"], h)[:, -1, :], params["embedding"]["weight"])


def _reference_attention(params: Any, h: Taylor) -> Taylor:
    if "qkv" in params:
        fused = formulas.affine(params["qkv"], h)
        q, k, v = (fused[:, i * _INNER : (i + 1) * _INNER] for i in range(3))
    else:
        q, k, v = (formulas.affine(params[name], h) for name in ("query", "key", "value"))
    return formulas.affine(params["out"], formulas.causal_attention(q, k, v, _HEADS))


def _reference_block(params: Any, tokens: np.ndarray) -> Taylor:
    h = params["embedding"]["weight"][tokens] + params["positions"]
    h = h + _reference_attention(params["attention"], formulas.scaled(params["norm1"], formulas.normalised(h)))
    first, second = params["mlp"]
    inner = formulas.affine(first, formulas.scaled(params["norm2"], formulas.normalised(h)))
    h = h + formulas.affine(second, formulas.gelu(inner))
    pooled = h.sum(0) * (1 / _LENGTH)
    return formulas.affine(params["head"], pooled.reshape(1, _WIDTH))[0]


def _reference_tied(params: Any, tokens: np.ndarray) -> Taylor:
    table = params["embedding"]["weight"]
    h = table[tokens] + params["positions"]
    h = h + _reference_attention(params["attention"], h)
    last = formulas.scaled(params["norm"], formulas.normalised(h))[_LENGTH - 1]
    return contract("d,cd->c", last, table)


def _affine(rng: np.random.Generator, d_out: int, d_in: int, *, bias: bool = True) -> dict[str, np.ndarray]:
    weight = rng.standard_normal((d_out, d_in)) / np.sqrt(d_in)
    return {"weight": weight, "bias": 0.3 * rng.standard_normal(d_out)} if bias else {"weight": weight}


def _scale(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"weight": 1 + 0.3 * rng.standard_normal(_WIDTH), "bias": 0.3 * rng.standard_normal(_WIDTH)}


def _data(rng: np.random.Generator, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(0, _VOCABULARY, (n, _LENGTH)), rng.integers(0, classes, n)


def _pair(name: str) -> tuple[str, str]:
    return f"{name}.weight", f"{name}.bias"


def block() -> Scenario:
    """Embedding and positions, then pre-norm attention and a pre-norm perceptron with residuals, then the mean."""
    rng = np.random.default_rng(14)
    params = {
        "attention": {"qkv": _affine(rng, 3 * _INNER, _WIDTH, bias=False), "out": _affine(rng, _WIDTH, _INNER)},
        "embedding": {"weight": 0.8 * rng.standard_normal((_VOCABULARY, _WIDTH))},
        "head": _affine(rng, _CLASSES, _WIDTH),
        "mlp": [_affine(rng, _HIDDEN, _WIDTH), _affine(rng, _WIDTH, _HIDDEN)],
        "norm1": _scale(rng),
        "norm2": _scale(rng),
        "positions": 0.5 * rng.standard_normal((_LENGTH, _WIDTH)),
    }
    x, y = _data(rng, 4, _CLASSES)
    outputs = derivatives(_reference_block, params, x)
    affine = ("attention.out", "head", "mlp.0", "mlp.1", "norm1", "norm2")
    return Scenario(
        "transformer/block",
        "a transformer block over tokens: embedding, positions, LayerNorm, causal attention of two heads, GELU, residuals",
        _block,
        params,
        cv.Categorical(),
        x,
        y,
        assemble(outputs.first, categorical(outputs.value, y), outputs.second),
        (*map(_pair, affine), ("attention.qkv.weight",), ("embedding.weight",), ("positions",)),
    )


def tied() -> Scenario:
    """The next token by the embedding's own table; separate projections without bias."""
    rng = np.random.default_rng(15)
    shapes = {"query": (_INNER, _WIDTH), "key": (_INNER, _WIDTH), "value": (_INNER, _WIDTH), "out": (_WIDTH, _INNER)}
    params = {
        "attention": {name: _affine(rng, *shape, bias=False) for name, shape in shapes.items()},
        "embedding": {"weight": 0.8 * rng.standard_normal((_VOCABULARY, _WIDTH))},
        "norm": _scale(rng),
        "positions": 0.5 * rng.standard_normal((_LENGTH, _WIDTH)),
    }
    x, y = _data(rng, 4, _VOCABULARY)
    outputs = derivatives(_reference_tied, params, x)
    return Scenario(
        "transformer/tied-embedding",
        "the next token after causal attention, its logits by the table of the embedding: one weight used in two ways",
        _tied,
        params,
        cv.Categorical(),
        x,
        y,
        assemble(outputs.first, categorical(outputs.value, y), outputs.second),
        (*((f"attention.{name}.weight",) for name in shapes), ("embedding.weight",), _pair("norm"), ("positions",)),
    )
