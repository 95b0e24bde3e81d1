"""``curvature_torch.NaturalGradient`` without data: closures, and the inputs behind the gradients."""

from __future__ import annotations

import copy
import gc
import io
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import curvature as cv
from curvature_torch import NaturalGradient


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y = randn(12, 4, seed=1), torch.tensor([0, 1, 2, 1, 0, 2, 2, 1, 0, 0, 1, 2])


def network(*extra):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), *extra, nn.Linear(5, 3)).double()


def values(net):
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def with_data(steps, **options):
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical(), **options)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(X), Y).backward()
        optimizer.step((X, Y))
    return net, optimizer


# Closures -----------------------------------------------------------------------------------------------

RULES = [
    {"damping": 0.1, "learning_rate": 0.5},
    {},
    {"damping": cv.LevenbergMarquardt(1.0, interval=1)},
    {"approximation": "exact", "damping": cv.DelayedGratification(), "acceleration": cv.GeodesicAcceleration(), "l2": 1e-3},
    {"approximation": "diagonal", "learning_rate": cv.Backtracking()},
]


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("options", RULES)
def test_a_closure_is_as_good_as_data(options, to_none):
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical(), **options)

    def closure():
        optimizer.zero_grad(set_to_none=to_none)
        loss = F.cross_entropy(net(X), Y)
        loss.backward()
        return loss

    for _ in range(3):
        before = values(net)
        loss = optimizer.step(closure)
        assert loss.item() == optimizer.info.loss or "l2" in options
        variables = {name: p.requires_grad_() for name, p in before.items()}
        before_loss = F.cross_entropy(torch.func.functional_call(net, variables, X), Y)
        gradient = torch.autograd.grad(before_loss, variables["0.weight"])[0]
        torch.testing.assert_close(net[0].weight.grad, gradient)  # those of the step, not of a point that was tried
    expected, other = with_data(3, **options)
    for name, value in values(expected).items():
        torch.testing.assert_close(values(net)[name], value, rtol=1e-6, atol=1e-9)
    assert optimizer.info.damping == pytest.approx(other.info.damping)


def test_a_closure_is_called_once_where_nobody_looks():
    net, calls = network(), []
    optimizer = NaturalGradient(net, cv.Categorical(), damping=0.1)

    def closure():
        calls.append(net[0].weight.clone())
        optimizer.zero_grad()
        loss = F.cross_entropy(net(X), Y)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert len(calls) == 1


def test_a_closure_that_is_not_deterministic_is_refused():
    net = network(nn.Dropout(0.5))
    optimizer = NaturalGradient(net, cv.Categorical(), damping=cv.LevenbergMarquardt(1.0, interval=1))
    start = values(net)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(net(X), Y)
        loss.backward()
        return loss

    with pytest.raises(cv.DataError, match=r"(?s)at the same parameters.*model\.eval\(\).*optimizer\.step\(\(x, y\)\)"):
        optimizer.step(closure)
    assert same(values(net), start)
    net.eval()
    optimizer.step(closure)
    assert optimizer.info.accepted
    steady = NaturalGradient(net.train(), cv.Categorical(), damping=0.1)
    steady.step(closure)  # nobody looks
    assert steady.info.accepted


def test_a_closure_beside_data():
    """Curvature from the data, gradient and loss from the closure."""
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical(), damping=cv.LevenbergMarquardt(1.0, interval=1))

    def closure():
        optimizer.zero_grad()
        loss = sum(F.cross_entropy(part(X), Y) for part in (lambda x: net[2](net[1](net[0](x))),))
        loss.backward()
        return loss

    with pytest.raises(cv.DataError, match="call the module that was passed"):
        optimizer.step(closure)
    optimizer.step(closure, data=(X, Y))
    expected, _ = with_data(1, damping=cv.LevenbergMarquardt(1.0, interval=1))
    for name, value in values(expected).items():
        torch.testing.assert_close(values(net)[name], value)


# Neither data nor closure -------------------------------------------------------------------------------


def test_without_data_the_inputs_behind_the_gradient_are_used():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical(), damping=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        net(X * 100)  # no backward pass: leaves nothing behind
        with torch.no_grad():
            net(X * 10)
        for x, y in zip(X.chunk(2), Y.chunk(2), strict=True):
            (F.cross_entropy(net(x), y) / 2).backward()
        optimizer.step()
        assert math.isnan(optimizer.info.loss)
    expected, _ = with_data(2, damping=0.1)
    for name, value in values(expected).items():
        torch.testing.assert_close(values(net)[name], value, rtol=1e-9, atol=1e-12)


def test_gradients_that_were_zeroed_take_their_inputs_with_them():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical(), damping=0.1)
    F.cross_entropy(net(10 * X), Y).backward()
    loss = F.cross_entropy(net(X), Y)
    optimizer.zero_grad()  # after the model was called, as many loops have it
    loss.backward()
    optimizer.step()
    assert same(values(net), values(with_data(1, damping=0.1)[0]))


def test_rules_that_were_left_open_are_constant_without_a_loss():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(7):
            optimizer.zero_grad()
            F.cross_entropy(net(X), Y).backward()
            optimizer.step()
    assert [w.category for w in caught] == [cv.CurvatureWarning]
    assert "optimizer.step((x, y))" in str(caught[0].message)
    assert same(values(net), values(with_data(7, damping=0.01)[0]))


def test_a_step_that_failed_chose_no_rules():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical())
    F.cross_entropy(net(X), Y).backward()
    net[0].weight.grad[0, 0] = math.nan
    with pytest.warns(cv.CurvatureWarning, match="no loss is known"), pytest.raises(cv.DivergedError):
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
    F.cross_entropy(net(X), Y).backward()
    optimizer.step((X, Y))
    assert same(values(net), values(with_data(1)[0]))


@pytest.mark.parametrize(
    "options",
    [
        {"damping": cv.LevenbergMarquardt(1.0)},
        {"damping": cv.DampingSearch()},
        {"damping": 0.1, "learning_rate": cv.Backtracking()},
        {"damping": 0.1, "acceleration": cv.GeodesicAcceleration()},
        {"damping": 0.1, "fisher": "empirical"},
    ],
)
def test_rules_that_were_given_and_look_at_the_loss_are_refused(options):
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical(), **options)
    F.cross_entropy(net(X), Y).backward()
    with pytest.raises(cv.DataError, match=r"write optimizer\.step\(\(x, y\)\)"):
        optimizer.step()
    optimizer.step((X, Y))
    assert optimizer.info.accepted
    F.cross_entropy(net(X), Y).backward()
    with pytest.raises(cv.DataError, match=r"write optimizer\.step\(\(x, y\)\)"):
        optimizer.step()


def test_a_model_that_was_not_called_is_named():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical(), damping=0.1)
    F.cross_entropy(net[2](net[1](net[0](X))), Y).backward()
    with pytest.raises(cv.DataError, match=r"Sequential was not called.*optimizer\.step\(\(x, y\)\)"):
        optimizer.step()


class Wide(nn.Module):
    """Two inputs, one of them by name, and outputs among other things."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(4, 3).double()

    def forward(self, x, mask=None, *, scale=None):
        x = x if mask is None else x * mask
        return {"logits": self.net(x if scale is None else x * scale), "hidden": x}


@pytest.mark.parametrize("named", [(), ("mask",), ("mask", "scale")])
def test_inputs_of_any_form(named):
    net, scale = Wide(), torch.ones(12, 1, dtype=torch.float64) * 2
    optimizer = NaturalGradient(net, cv.Categorical(), damping=0.1)
    F.cross_entropy(net(X, **dict.fromkeys(named, scale))["logits"], Y).backward()
    optimizer.step()
    plain = Wide()
    other = NaturalGradient(plain, cv.Categorical(), damping=0.1)
    F.cross_entropy(plain(X * 2 ** len(named))["logits"], Y).backward()
    other.step((X * 2 ** len(named), Y))
    for name, value in values(plain).items():
        torch.testing.assert_close(values(net)[name], value)


@pytest.mark.parametrize("likelihood", [cv.Gaussian(), cv.Poisson(), cv.Exponential(), cv.Bernoulli()])
def test_any_likelihood_has_targets(likelihood):
    torch.manual_seed(0)
    net = nn.Linear(4, 1).double()
    optimizer = NaturalGradient(net, likelihood, damping=0.1)
    (net(X) ** 2).mean().backward()
    optimizer.step()
    assert optimizer.info.accepted


def test_copies_and_the_optimiser_s_end_leave_no_hook_at_work():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical(), damping=0.1)
    copied = copy.deepcopy(net)
    F.cross_entropy(copied(X), Y).backward()
    with pytest.raises(cv.DataError, match="was not called"):
        optimizer._inputs.take()
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    torch.load(file, weights_only=False)(X).sum().backward()
    del optimizer
    gc.collect()
    assert not net._forward_hooks


# Lightning ----------------------------------------------------------------------------------------------


class Imitation:
    """Lightning's automatic optimisation around ``optimizer.step``: gradients are toggled, and a closure does it all."""

    def __init__(self, module, optimizer):
        self.module, self.optimizer = module, optimizer

    def fit(self, batches):
        self.module.train()
        own = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        for batch in batches:
            wanted = {p: p.requires_grad for p in self.module.parameters()}
            for p in wanted:  # toggle_optimizer
                p.requires_grad = wanted[p] and id(p) in own

            def closure(batch=batch):
                with torch.enable_grad():
                    loss = self.training_step(batch)
                    self.optimizer.zero_grad()
                    if loss is not None:
                        loss.backward()
                return loss

            self.optimizer.step(closure=closure)
            for p, wants in wanted.items():  # untoggle_optimizer
                p.requires_grad = wants

    def training_step(self, batch):
        if batch is None:
            return None
        return F.cross_entropy(self.module(batch[0]), batch[1])


def test_in_a_lightning_loop():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical())
    start = values(net)
    Imitation(net, optimizer).fit([None])
    assert same(values(net), start)
    Imitation(net, optimizer).fit([(X, Y)] * 4)
    for name, value in values(with_data(4)[0]).items():
        torch.testing.assert_close(values(net)[name], value, rtol=1e-6, atol=1e-9)
