"""Modules of which derivatives would be wrong without a word."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import curvature as cv

X = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 1, 0, 2])


class Net(nn.Module):
    def __init__(self, function=None):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.drop = nn.Linear(4, 4), nn.Linear(4, 3), nn.Dropout(0.1)
        self.function = function
        self.double()
        self.again = [self.first.weight]

    def forward(self, x):
        return self.last(self.function(self, x))


def ask(function):
    problem = cv.Problem(Net(function), cv.Categorical(), (X, Y))
    return problem.gradient(), problem


def test_a_parameter_that_is_reached_by_another_way():
    with pytest.raises(cv.ModelError, match=r"'first\.weight' is reached by a way that"):
        ask(lambda net, x: F.linear(net.first(x).tanh(), net.again[0]))


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints(reentrant):
    with pytest.raises(cv.ModelError, match=r"torch.utils.checkpoint.*switch checkpointing off"):
        ask(lambda net, x: checkpoint(lambda z: net.first(z).tanh(), x, use_reentrant=reentrant))


@pytest.mark.parametrize("ask_for", [lambda p: p.loss(), lambda p: cv.GGN(p).to_dense(), lambda p: p.gradient()])
def test_dropout_in_training_mode(ask_for):
    with pytest.raises(cv.ModelError, match=r"draws random numbers.*drop.*module.eval\(\)"):
        ask_for(cv.Problem(Net(lambda net, x: net.drop(net.first(x))), cv.Categorical(), (X, Y)))
    module = Net(lambda net, x: net.drop(net.first(x))).eval()
    ask_for(cv.Problem(module, cv.Categorical(), (X, Y)))


def test_the_hessian_through_weight_normalisation():
    """Its gradient is right and so is the GGN; its second derivative is not, in torch itself."""
    module = Net(lambda net, x: net.first(x).tanh()).eval()
    module.again = []
    nn.utils.parametrizations.weight_norm(module.first)
    problem = cv.Problem(module, cv.Categorical(), (X, Y))
    v = torch.ones(problem.space.size, dtype=torch.float64)
    torch.testing.assert_close(cv.GGN(problem) @ v, cv.GGN(problem).to_dense() @ v)
    with pytest.raises(cv.UnsupportedError, match="weight normalisation"):
        cv.Hessian(problem) @ v


def test_fused_transformer_layers_are_not_another_model():
    """With padding they give other outputs, and only where no gradient is taken."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dtype=torch.float64)

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.TransformerEncoder(layer, 1), nn.Linear(4, 3, dtype=torch.float64)

        def forward(self, x):
            padded = torch.zeros(x.shape[:2], dtype=torch.bool)
            padded[:, -1] = True
            return self.head(self.body(x, src_key_padding_mask=padded).mean(1))

    x = torch.randn(6, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    problem = cv.Problem(Encoder().eval(), cv.Categorical(), (x, Y))
    assert float(problem.loss()) == pytest.approx(float(problem.loss_and_gradient()[0]), rel=1e-12)
    assert torch.backends.mha.get_fastpath_enabled()
    found = cv.approximate(cv.GGN(problem), "diagonal").diagonal()
    torch.testing.assert_close(found, cv.GGN(problem).to_dense().diagonal(), rtol=1e-9, atol=1e-12)
