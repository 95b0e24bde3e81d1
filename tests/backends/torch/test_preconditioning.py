"""``curvature_torch.precondition``: the inverse curvature in front of optimisers of torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import curvature as cv
from curvature_torch import precondition

X = torch.randn((12, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 1, 0, 2, 2, 1, 0, 0, 1, 2])


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def backward(net, x=X, y=Y):
    net.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    return loss


def expected(approximation, damping):
    """(F̂ + λI)⁻¹ ∇L, by name."""
    problem = cv.Problem(network(), cv.Categorical(), (X, Y))
    method, rest = cv.approximation(approximation).damped(damping)
    solution = cv.approximate(cv.Fisher(problem), method).solve(problem.space.ravel(problem.xp, problem.gradient()), damping=rest)
    return problem.space.unravel(problem.xp, solution)


@pytest.mark.parametrize("approximation", ["kfac", "exact", "diagonal"])
def test_the_gradient_is_solved_for(approximation):
    net, start = network(), network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    precondition(optimizer, net, cv.Categorical(), approximation, damping=0.1)
    backward(net)
    optimizer.step()
    for (name, p), old in zip(net.named_parameters(), start.parameters(), strict=True):
        solved = expected(approximation, 0.1)[name]
        torch.testing.assert_close(p.grad, solved, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(p.detach(), old.detach() - 0.5 * solved, rtol=1e-9, atol=1e-12)


def test_the_norm_of_each_group_is_kept():
    net = network()
    optimizer = torch.optim.Adam([{"params": net[0].parameters()}, {"params": net[2].parameters()}])
    precondition(optimizer, net, cv.Categorical(), damping=0.1, keep_norm=True)
    backward(net)
    norms = [torch.cat([p.grad.reshape(-1) for p in part.parameters()]).norm() for part in (net[0], net[2])]
    optimizer.step()
    solved = expected("kfac", 0.1)
    for layer, norm in zip((0, 2), norms, strict=True):
        found = torch.cat([p.grad.reshape(-1) for p in net[layer].parameters()])
        wanted = torch.cat([solved[f"{layer}.{name}"].reshape(-1) for name in ("weight", "bias")])
        torch.testing.assert_close(found, wanted * norm / wanted.norm())


def test_removed_it_leaves_gradients_alone():
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    handle = precondition(optimizer, net, cv.Categorical())
    handle.remove()
    backward(net)
    gradient = net[0].weight.grad.clone()
    optimizer.step()
    assert torch.equal(net[0].weight.grad, gradient)
    assert not net._forward_hooks


def test_statistics_every_so_often():
    """Between updates the inputs do not matter; at one, they do."""
    found = []
    for factor in (1.0, 5.0):
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
        precondition(optimizer, net, cv.Categorical(), damping=0.1, statistics_every=2, decay=0.0)
        gradients = []
        for x in (X, factor * X, factor * X):
            backward(net, x)
            for p in net.parameters():
                p.grad = torch.ones_like(p)
            optimizer.step()
            gradients.append(net[0].weight.grad.clone())
        found.append(gradients)
    same = [torch.equal(a, b) for a, b in zip(*found, strict=True)]
    assert same == [True, True, False]


@pytest.mark.parametrize("named", [True, False])
def test_closures_are_followed(named):
    """Lightning calls ``step(closure=closure)`` of every optimiser."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    precondition(optimizer, net, cv.Categorical(), damping=0.1)
    loss = optimizer.step(closure=lambda: backward(net)) if named else optimizer.step(lambda: backward(net))
    assert loss.item() == backward(network()).item()
    torch.testing.assert_close(net[0].weight.grad, expected("kfac", 0.1)["0.weight"], rtol=1e-9, atol=1e-12)


def test_it_makes_sgd_faster():
    def losses(on):
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        if on:
            precondition(optimizer, net, cv.Categorical(), damping=0.1, refresh_every=5)
        for _ in range(30):
            loss = backward(net)
            optimizer.step()
        return loss.item()

    assert losses(True) < losses(False)


def test_a_group_that_is_added_is_followed_and_others_left_alone():
    net, apart = network(), nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = torch.optim.SGD([*net[2].parameters(), apart], lr=0.1)
    precondition(optimizer, net, cv.Categorical(), damping=0.1)
    for _ in range(2):
        backward(net)
        apart.grad = torch.ones_like(apart)
        first = net[0].weight.grad.clone()
        optimizer.step()
        assert apart.grad.tolist() == [1, 1, 1]
        if len(optimizer.param_groups) == 1:
            assert torch.equal(net[0].weight.grad, first)
            optimizer.add_param_group({"params": net[0].parameters()})
    assert not torch.equal(net[0].weight.grad, first)


def test_errors():
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(cv.UnsupportedError, match="LBFGS"):
        precondition(torch.optim.LBFGS(net.parameters()), net, cv.Categorical())
    with pytest.raises(cv.DataError, match="no parameter of the Sequential"):
        precondition(optimizer, network(), cv.Categorical())
    with pytest.raises(cv.DataError, match="need no targets"):
        precondition(optimizer, net, cv.Categorical(), fisher="empirical")
    with pytest.raises(cv.DataError, match="damping is a number"):
        precondition(optimizer, net, cv.Categorical(), damping=cv.LevenbergMarquardt())
    with pytest.raises(cv.DataError, match="optimizer is a torch"):
        precondition(net, net, cv.Categorical())
    precondition(optimizer, net, cv.Categorical())
    F.cross_entropy(net[2](net[1](net[0](X))), Y).backward()
    with pytest.raises(cv.DataError, match="call the module that was passed"):
        optimizer.step()
