"""States of ``curvature_torch.NaturalGradient`` in files."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import curvature as cv
from curvature_torch import NaturalGradient

X = torch.randn((12, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 1, 0, 2, 2, 1, 0, 0, 1, 2])


def network(hidden=5):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, hidden), nn.Tanh(), nn.Linear(hidden, 3)).double()


def run(net, optimizer, scheduler, steps, *, data=True):
    for k in range(steps):
        part = slice(0, 8) if k % 2 else slice(4, 12)
        optimizer.zero_grad()
        F.cross_entropy(net(X[part]), Y[part]).backward()
        optimizer.step(*([(X[part], Y[part])] if data else []))
        scheduler.step()


def through_a_file(*objects):
    file = io.BytesIO()
    torch.save([each.state_dict() for each in objects], file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def made(net, **options):
    optimizer = NaturalGradient(net, cv.Categorical(), **options)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 3, gamma=0.5)


OPTIONS = [
    {},
    {"approximation": "exact", "damping": cv.DelayedGratification()},
    {"refresh_every": 3},
    {"fisher": "monte-carlo", "statistics_every": 2, "weight_decay": 0.01},
    {"approximation": "ekfac", "damping": 0.1},
    {"approximation": "shampoo", "damping": 0.1},
    {"approximation": "diagonal", "damping": 0.1, "momentum": cv.Spring(), "learning_rate": 0.1},
    {"approximation": "block-diagonal", "damping": 0.1},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_run_goes_on_bit_for_bit(options):
    net = network()
    optimizer, scheduler = made(net, **options)
    run(net, optimizer, scheduler, 4)
    packed = through_a_file(net, optimizer, scheduler)
    other = network()
    resumed, schedule = made(other, **options)
    for each, state in zip((other, resumed, schedule), packed, strict=True):
        each.load_state_dict(state)
    again = through_a_file(resumed)[0]  # before it took a step
    assert again["state"]["curvature"]["core"]["numbers"] == packed[1]["state"]["curvature"]["core"]["numbers"]
    run(net, optimizer, scheduler, 4)
    run(other, resumed, schedule, 4)
    assert optimizer.info == resumed.info
    assert optimizer.param_groups[0]["lr"] == resumed.param_groups[0]["lr"] == 0.25
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


@pytest.mark.filterwarnings("ignore::curvature.CurvatureWarning")
def test_a_run_without_loss_goes_on_without():
    net = network()
    optimizer, scheduler = made(net)
    run(net, optimizer, scheduler, 4, data=False)
    state, resumed = through_a_file(net, optimizer, scheduler), made(network())[0]
    resumed.load_state_dict(state[1])
    other = copy.deepcopy(net)
    resumed, schedule = made(other)
    resumed.load_state_dict(state[1])
    schedule.load_state_dict(state[2])
    run(net, optimizer, scheduler, 2, data=False)
    run(other, resumed, schedule, 2, data=False)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_before_the_first_step():
    net = network()
    resumed, schedule = made(net)
    resumed.load_state_dict(through_a_file(made(network())[0])[0])
    run(net, resumed, schedule, 1)
    assert resumed.info.accepted


def state():
    net = network()
    optimizer, scheduler = made(net)
    run(net, optimizer, scheduler, 2)
    return optimizer.state_dict()


def test_another_model_is_refused():
    with pytest.raises(
        cv.DataError, match=r"parameter 0 of group 0 is '0.weight' \(5, 4\) torch.float64 there and '0.weight' \(6, 4\)"
    ):
        made(network(6))[0].load_state_dict(state())
    with pytest.raises(cv.DataError, match=r"torch.float64 there and .* torch.float32 here"):
        made(network().float())[0].load_state_dict(state())
    longer = nn.Sequential(*network(), nn.Linear(3, 3))
    with pytest.raises(cv.DataError, match=r"parameter 4 of group 0 is nothing there"):
        made(longer.double())[0].load_state_dict(state())
    net = network()
    groups = made(net, params=[{"params": net[0].parameters()}, {"params": net[2].parameters()}])[0]
    with pytest.raises(cv.DataError, match="1 parameter groups, the optimiser 2"):
        groups.load_state_dict(state())


def test_another_optimiser_or_version_is_refused():
    net = network()
    for other in (torch.optim.SGD(net.parameters(), lr=0.1).state_dict(), {}, None):
        with pytest.raises(cv.DataError, match="no state of a curvature_torch"):
            made(net)[0].load_state_dict(other)
    newer = state()
    newer["state"]["curvature"]["format"] = 99
    with pytest.raises(cv.DataError, match="format 99"):
        made(net)[0].load_state_dict(newer)


def test_other_rules_are_refused_at_the_next_step():
    net = network()
    optimizer, scheduler = made(net, approximation="diagonal")
    optimizer.load_state_dict(state())
    with pytest.raises(cv.DataError, match="other rules"):
        run(net, optimizer, scheduler, 1)


def test_a_copy_is_refused_with_the_remedy():
    with pytest.raises(cv.UnsupportedError, match="load_state_dict"):
        copy.deepcopy(made(network())[0])
