"""Recurrent networks: every step is a use of the same matrices."""

import pytest
import torch
from torch import nn

N, T = 5, 3


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = randn(N, T, 4, seed=1)


def parameters(module):
    return {name: randn(*p.shape, seed=i) for i, (name, p) in enumerate(module.named_parameters())}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_cells(check, kind, bias):
    cell = kind(4, 2, bias=bias).double()
    params = parameters(cell)

    def f(p, x):
        state = None
        for t in range(T):
            state = torch.func.functional_call(cell, p, (x[:, t], state))
        return state[0] if isinstance(state, tuple) else state

    uses = check(f, params, X, recognised=set(params))
    assert [(u.parameter, u.bias) for u in uses.uses] == [
        ("weight_ih", "bias_ih" if bias else None),
        ("weight_hh", "bias_hh" if bias else None),
    ] * T


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}], ids=str)
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU, lambda *a, **o: nn.RNN(*a, nonlinearity="relu", **o)])
def test_sequences(check, kind, batch_first, options):
    module = kind(4, 2, batch_first=batch_first, **options).double()
    params = parameters(module)

    def f(p, x):
        outputs, last = torch.func.functional_call(module, p, (x if batch_first else x.transpose(0, 1),))
        outputs = outputs if batch_first else outputs.transpose(0, 1)
        states = last if isinstance(last, tuple) else (last,)
        return torch.cat([outputs.flatten(1), *(s.transpose(0, 1).flatten(1) for s in states)], dim=1)

    uses = check(f, params, X, recognised=set(params))
    assert sum(u.parameter == "weight_hh_l0" for u in uses.uses) == T
    assert {u.kind for u in uses.uses} == {"linear"}


def test_packed_sequences_and_single_ones_are_named(check):
    module = nn.GRU(4, 2, batch_first=True).double()
    params = parameters(module)

    def f(p, x):
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([3, 3, 2, 2, 1]), batch_first=True)
        return torch.func.functional_call(module, p, (packed,))[1][0]

    uses = check(f, params, X, recognised=(), unrecognised=set(params))
    assert all("gru" in reason for reason in uses.unrecognised.values())
