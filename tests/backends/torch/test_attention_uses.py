"""Projections of ``nn.MultiheadAttention``, which torch hides in one function, with every option that it has."""

import itertools

import pytest
import torch
from torch import nn

N, T, S, D = 4, 3, 5, 4


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, MEMORY = randn(N, T, D, seed=1), randn(N, S, D, seed=2)
PADDED = torch.arange(S) >= torch.tensor([5, 3, 4, 1])[:, None]
MASKS = {
    "none": {},
    "boolean": {"attn_mask": torch.ones(T, S).triu(1).bool()},
    "additive": {"attn_mask": randn(T, S, seed=3)},
    "for each head": {"attn_mask": randn(2 * N, T, S, seed=3)},
    "padding": {"key_padding_mask": PADDED},
    "both": {"key_padding_mask": PADDED, "attn_mask": torch.ones(T, S).triu(3).bool()},
}


def parameters(module):
    return {name: randn(*p.shape, seed=i) for i, (name, p) in enumerate(module.named_parameters())}


def of(module, **options):
    def f(p, x):
        query, memory = (x, MEMORY[: len(x)]) if module.batch_first else (x.transpose(0, 1), MEMORY[: len(x)].transpose(0, 1))
        outputs, weights = torch.func.functional_call(module, p, (query, memory, memory), options)
        outputs = outputs if module.batch_first else outputs.transpose(0, 1)
        return outputs.flatten(1) if weights is None else torch.cat([outputs.flatten(1), weights.flatten(1)], 1)

    return f


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_masks(check, mask, need_weights):
    module = nn.MultiheadAttention(D, 2, batch_first=True).double().eval()
    params = parameters(module)
    check(of(module, need_weights=need_weights, **mask), params, X, recognised=set(params))


@pytest.mark.parametrize(
    ("bias", "add_bias_kv", "add_zero_attn", "kdim", "batch_first"),
    [c for c in itertools.product([True, False], [True, False], [True, False], [None, 3], [True, False]) if c[3] is None or c[4]],
)
def test_options(check, bias, add_bias_kv, add_zero_attn, kdim, batch_first):
    module = nn.MultiheadAttention(
        D, 2, bias=bias, add_bias_kv=add_bias_kv, add_zero_attn=add_zero_attn, kdim=kdim, batch_first=batch_first
    ).double()
    params = parameters(module)

    def f(p, x):
        keys = (MEMORY if kdim is None else MEMORY[..., :kdim])[: len(x)]
        if not batch_first:
            x, keys = x.transpose(0, 1), keys.transpose(0, 1)
        values = keys if kdim is None else MEMORY[: len(x)]
        outputs = torch.func.functional_call(module, p, (x, keys, values), {"average_attn_weights": False})[0]
        return outputs if batch_first else outputs.transpose(0, 1)

    uses = check(f, params, X, recognised=set(params))
    kinds = {u.parameter: u.kind for u in uses.uses}
    assert kinds["out_proj.weight"] == "linear"
    assert {kinds[name] for name in kinds if name.startswith("bias_")} <= {"shift"}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("n", [N, T, 1])
def test_self_attention_has_one_projection(check, n, training):
    """Also with as many examples as positions; the fused path of evaluation mode hides nothing."""
    module = nn.TransformerEncoderLayer(D, 2, 5, dropout=0.0, batch_first=True).double().train(training)
    params = parameters(module)
    uses = check(lambda p, x: torch.func.functional_call(module, p, (x,)), params, X[:n], recognised=set(params))
    assert ("linear", "self_attn.in_proj_weight", "self_attn.in_proj_bias", None) in [
        (u.kind, u.parameter, u.bias, u.entries) for u in uses.uses
    ]


def test_a_decoder(check):
    module = nn.TransformerDecoderLayer(D, 2, 5, dropout=0.0, batch_first=True).double()
    params = parameters(module)

    def f(p, x):
        return torch.func.functional_call(module, p, (x, MEMORY), {"tgt_mask": torch.ones(T, T).triu(1).bool()})

    check(f, params, X, recognised=set(params))
