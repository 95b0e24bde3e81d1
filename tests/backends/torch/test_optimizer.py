"""``curvature_torch.NaturalGradient`` in training loops of torch."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import curvature as cv
from curvature_torch import NaturalGradient


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


X, Y = randn(12, 4, seed=1), torch.tensor([0, 1, 2, 1, 0, 2, 2, 1, 0, 0, 1, 2])


def network(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)


def backward(net, optimizer, x=X, y=Y):
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    return loss


def values(net):
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def core_steps(options, steps=3, net=None):
    """What the core does, step by step, on gradients by torch."""
    net = network() if net is None else net
    core = cv.NaturalGradient(**options)
    problem = cv.Problem(net, cv.Categorical(), (X, Y))
    params, state = values(net), core.init(problem)
    for _ in range(steps):
        variables = {name: p.clone().requires_grad_() for name, p in params.items()}
        loss = F.cross_entropy(torch.func.functional_call(net, variables, X), Y)
        gradient = dict(zip(variables, torch.autograd.grad(loss, list(variables.values())), strict=True))
        params, state, info = core.step(params, state, (X, Y), gradient=gradient)
    return params, info


RULES = [
    {},
    {"approximation": "exact", "damping": cv.DelayedGratification(), "acceleration": cv.GeodesicAcceleration()},
    {"approximation": "kfac", "damping": 0.1, "learning_rate": 0.5, "momentum": 0.9, "l2": 1e-2, "weight_decay": 1e-2},
    {"approximation": "diagonal", "damping": cv.LevenbergMarquardt(1.0, interval=1), "learning_rate": cv.Backtracking()},
]


@pytest.mark.parametrize("options", RULES)
def test_steps_are_those_of_the_core(options):
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical(), **options)
    for _ in range(3):
        backward(net, optimizer)
        assert optimizer.step((X, Y)) is None
    expected, info = core_steps(options)
    assert same(values(net), expected)
    assert optimizer.info == info


def test_micro_batches_are_one_batch():
    together, apart = network(), network()
    for net, parts in ((together, 1), (apart, 2)):
        optimizer = NaturalGradient(net, cv.Categorical(), damping=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            data = list(zip(X.chunk(parts), Y.chunk(parts), strict=True))
            for x, y in data:
                (F.cross_entropy(net(x), y) / parts).backward()
            optimizer.step(data=data)
    for name, value in values(together).items():
        torch.testing.assert_close(values(apart)[name], value, rtol=1e-9, atol=1e-12)


def test_a_dataloader_gives_lists():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical())
    for batch in torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=12):
        assert isinstance(batch, list)
        backward(net, optimizer, *batch)
        optimizer.step(batch)
    assert same(values(net), core_steps({}, steps=1)[0])


def test_clipping_clips():
    net, free = network(), network()
    for one, clip in ((net, 1e-3), (free, None)):
        optimizer = NaturalGradient(one, cv.Categorical(), damping=1.0, learning_rate=1.0)
        backward(one, optimizer)
        size = torch.nn.utils.clip_grad_norm_(one.parameters(), 1e9 if clip is None else clip)
        optimizer.step((X, Y))
        assert optimizer.info.gradient_norm == pytest.approx(float(size) if clip is None else clip, rel=1e-3)
    start, factor = values(network()), 1e-3 / float(size)
    for name, value in values(net).items():
        expected = (values(free)[name] - start[name]) * factor
        torch.testing.assert_close(value - start[name], expected, rtol=1e-3, atol=1e-12)


# Groups and schedulers ----------------------------------------------------------------------------------


def test_lr_scales_the_update_and_a_scheduler_halves_it():
    moves = []
    for lr in (1.0, 0.5):
        net = network()
        start = values(net)
        optimizer = NaturalGradient(net, cv.Categorical(), damping=0.1, lr=lr)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
        backward(net, optimizer)
        optimizer.step((X, Y))
        scheduler.step()
        assert optimizer.param_groups[0]["lr"] == lr / 2
        moves.append({name: value - start[name] for name, value in values(net).items()})
    for name in moves[0]:
        torch.testing.assert_close(moves[1][name], moves[0][name] / 2, rtol=1e-12, atol=1e-15)


def test_one_cycle():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=6, cycle_momentum=False)
    losses = []
    for _ in range(6):
        losses.append(backward(net, optimizer).item())
        optimizer.step((X, Y))
        scheduler.step()
    assert losses == sorted(losses, reverse=True)


def test_groups():
    net = network()
    start = values(net)
    groups = [{"params": net[0].parameters(), "lr": 1e-300}, {"params": net[2].parameters(), "weight_decay": 0.25}]
    optimizer = NaturalGradient(net, cv.Categorical(), params=groups, damping=0.1, learning_rate=0.5)
    backward(net, optimizer)
    optimizer.step((X, Y))
    plain = core_steps({"approximation": "kfac", "damping": 0.1, "learning_rate": 0.5}, steps=1)[0]
    for name, value in values(net).items():
        expected = start[name] if name.startswith("0") else plain[name] - 0.5 * 0.25 * start[name]
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-15)


def test_a_scheduler_may_end_at_zero():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical())
    optimizer.param_groups[0]["lr"] = 0.0
    start = values(net)
    backward(net, optimizer)
    optimizer.step((X, Y))
    assert same(values(net), start)
    optimizer.param_groups[0]["lr"] = float("nan")
    backward(net, optimizer)
    with pytest.raises(cv.DataError, match="lr of a parameter group"):
        optimizer.step((X, Y))


def test_frozen_parameters_stay():
    net = network()
    net[0].weight.requires_grad_(False)
    frozen = net[0].weight.clone()
    optimizer = NaturalGradient(net, cv.Categorical(), params=net.parameters())
    for _ in range(2):
        backward(net, optimizer)
        optimizer.step((X, Y))
    assert torch.equal(net[0].weight, frozen)
    assert optimizer.info.accepted


def test_part_of_a_model_is_as_if_the_rest_were_frozen():
    part, frozen = network(), network()
    for p in frozen[0].parameters():
        p.requires_grad_(False)
    for net in (part, frozen):
        optimizer = NaturalGradient(net, cv.Categorical(), params=net[2].parameters(), damping=0.1)
        backward(net, optimizer)
        optimizer.step((X, Y))
    assert same(values(part), values(frozen))
    assert torch.equal(part[0].weight, network()[0].weight)


def test_a_group_that_is_added_begins_anew_with_the_same_damping():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical(), params=net[2].parameters(), damping=cv.LevenbergMarquardt(0.5, interval=1))
    backward(net, optimizer)
    optimizer.step((X, Y))
    changed = optimizer._state.damping
    optimizer.add_param_group({"params": net[0].parameters()})
    start = values(net)
    backward(net, optimizer)
    optimizer.step((X, Y))
    assert optimizer.info.damping == changed != 0.5
    assert not any(torch.equal(start[name], value) for name, value in values(net).items())


# Models -------------------------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encode, self.decode = nn.Linear(4, 4), nn.Linear(4, 4)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(torch.tanh(self.encode(x)))


def test_tied_weights_stay_tied():
    net = Tied().double()
    optimizer = NaturalGradient(net, cv.Categorical(), approximation="exact", damping=0.1)
    losses = []
    for _ in range(3):
        losses.append(backward(net, optimizer).item())
        optimizer.step((X, Y))
    assert net.decode.weight is net.encode.weight
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_buffers_stay_and_dropout_goes(dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3)).to(dtype)
    net[1].eval()
    buffers = [b.clone() for b in net.buffers()]
    optimizer = NaturalGradient(net, cv.Categorical())
    losses = []
    for _ in range(10):
        backward(net, optimizer, X.to(dtype))
        optimizer.step((X.to(dtype), Y))
        losses.append(optimizer.info.loss)
    assert losses[-1] < losses[0]
    assert net[2].training
    assert not net[1].training
    assert all(torch.equal(a, b) for a, b in zip(buffers, net.buffers(), strict=True))
    assert all(p.dtype == dtype for p in net.parameters())


def test_batch_norm_in_training_mode_is_refused():
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    optimizer = NaturalGradient(net, cv.Categorical())
    backward(net, optimizer)
    with pytest.raises(cv.ModelError, match="1 normalises each batch by its own examples"):
        optimizer.step((X, Y))
    net.eval()
    backward(net, optimizer)
    optimizer.step((X, Y))
    assert optimizer.info.accepted


def test_a_gradient_scaler_skips_what_is_not_finite():
    net = network(torch.float32)
    x = X.float()
    optimizer = NaturalGradient(net, cv.Categorical(), damping=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    plain = network(torch.float32)
    other = NaturalGradient(plain, cv.Categorical(), damping=0.1)
    backward(plain, other, x)
    other.step((x, Y))
    start = values(net)
    for factor in (float("inf"), 1.0):
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(net(x), Y) * factor).backward()
        scaler.step(optimizer, (x, Y))
        scaler.update()
        if factor != 1.0:
            assert same(values(net), start)
            assert optimizer.info is None
    for name, value in values(net).items():
        torch.testing.assert_close(value, values(plain)[name])


def test_gradients_that_are_not_finite_are_taken_back():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical(), damping=cv.LevenbergMarquardt(1.0, interval=1))
    start = values(net)
    backward(net, optimizer)
    optimizer.step((X, Y))
    for _ in range(2):
        backward(net, optimizer)
        net[0].weight.grad[0, 0] = float("nan")
        optimizer.step((X, Y))
        assert not optimizer.info.accepted
        assert same(values(net), start)
    backward(net, optimizer)
    net[0].weight.grad[0, 0] = float("nan")
    with pytest.raises(cv.DivergedError, match="in a row"):
        optimizer.step((X, Y))
    assert same(values(net), start)


def test_steps_are_in_full_precision_within_autocast():
    found = []
    for enabled in (False, True):
        net, x = network(torch.float32), X.float()
        optimizer = NaturalGradient(net, cv.Categorical(), damping=0.1)
        backward(net, optimizer, x)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            optimizer.step((x, Y))
        found.append(values(net))
    assert same(*found)


def test_a_compiled_module():
    net = network()
    compiled = torch.compile(net, backend="eager")
    optimizer = NaturalGradient(compiled, cv.Categorical(), damping=0.1)
    backward(compiled, optimizer)
    optimizer.step()
    assert same(values(net), core_steps({"approximation": "kfac", "damping": 0.1}, steps=1)[0])


# Errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lr": 0.0}, "lr is a positive number"),
        ({"lr": -1.0}, "lr is a positive number"),
        ({"lr": float("nan")}, "lr is a positive number"),
        ({"lr": None}, "lr is a positive number"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"params": [nn.Parameter(torch.zeros(2, 2))]}, "does not belong to the Sequential"),
        ({"objective": None}, "closure"),
        ({"averaging": 0.9}, "AveragedModel"),
        ({"damping": -1.0}, "damping"),
        ({"reduction": "none"}, "reduction"),
    ],
)
def test_what_does_not_fit_is_refused(options, said):
    with pytest.raises(cv.DataError, match=said):
        NaturalGradient(network(), cv.Categorical(), **options)


def test_model_and_likelihood_are_what_they_should_be():
    with pytest.raises(cv.DataError, match="not its parameters"):
        NaturalGradient(network().parameters(), cv.Categorical())
    with pytest.raises(cv.DataError, match=r"curvature\.Categorical\(\)"):
        NaturalGradient(network(), cv.Categorical)


def test_a_refused_group_leaves_no_trace():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical(), params=net[0].parameters())
    with pytest.raises(cv.DataError, match="does not belong"):
        optimizer.add_param_group({"params": network()[2].parameters()})
    assert len(optimizer.param_groups) == 1


def test_no_gradient_names_the_line():
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical())
    with pytest.raises(cv.DataError, match=r"loss\.backward\(\)"):
        optimizer.step((X, Y))
    with pytest.raises(cv.DataError, match="data once"):
        optimizer.step((X, Y), data=(X, Y))


def test_unused_parameters_are_named():
    net = Tied().double()
    net.spare = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = NaturalGradient(net, cv.Categorical())
    backward(net, optimizer)
    with pytest.warns(cv.UnusedParameterWarning, match="'spare'"):
        optimizer.step((X, Y))
    assert net.spare.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("factor", "warns"), [(2.0, True), (1.0, False), (0.1, False)])
def test_another_loss_than_the_likelihood_s_is_said(factor, warns):
    net = network()
    optimizer = NaturalGradient(net, cv.Categorical())
    (factor * F.cross_entropy(net(X), Y)).backward()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer.step((X, Y))
    assert [str(w.message)[:21] for w in caught] == ["the gradients are 2 t"] * warns


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_gaussian_of_mse_loss_is_the_one_documented(outputs):
    net = nn.Linear(4, outputs).double()
    y = randn(12, outputs, seed=3)
    F.mse_loss(net(X), y).backward()
    gradient = cv.Problem(net, cv.Gaussian(variance=outputs / 2), (X, y)).gradient()
    torch.testing.assert_close(gradient["weight"], net.weight.grad)


def test_importing_the_plugin_imports_no_torch():
    code = "import sys, curvature_torch, curvature as cv; cv.approximation('kfac'); assert 'torch' not in sys.modules"
    code += "; curvature_torch.NaturalGradient, curvature_torch.precondition; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
