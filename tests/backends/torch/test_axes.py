"""Where examples lie: first, second, in front of the first axis; and as many positions as examples."""

import pytest
import torch
from torch.nn import functional as F

from curvature_torch.backend import TorchBackend

be = TorchBackend()


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


PARAMS = {"w": randn(4, 3, seed=1), "b": randn(3, seed=2), "s": randn(3, seed=3)}


def layer(p, x):
    return torch.tanh(F.linear(x, p["w"].T, p["b"])) * p["s"]


def plain(p, x):
    return layer(p, x)


def sequence_first(p, x):
    return layer(p, x.transpose(0, 1)).transpose(0, 1)


def flat(p, x):
    return layer(p, x.reshape(-1, 4)).reshape(*x.shape[:2], 3)


def sequence_first_from_the_left(p, x):
    return torch.tanh(p["w"].T @ x.permute(1, 2, 0)).permute(2, 0, 1)


@pytest.mark.parametrize("pool", [lambda h: h, lambda h: h[:, 0], lambda h: h[:, -1], lambda h: h[:, h.shape[1] // 2]])
@pytest.mark.parametrize("f", [plain, sequence_first, flat])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (1, 4), (2, 6), (6, 2), (2, 2)], ids=str)
def test_layouts(check, f, shape, pool):
    uses = check(lambda p, x: pool(f(p, x)), PARAMS, randn(*shape, 4, seed=5), recognised=set(PARAMS))
    assert [(u.kind, u.parameter, u.bias) for u in uses.uses] == [("linear", "w", "b"), ("scale", "s", None)]


def test_examples_on_the_last_axis(check):
    """W x with examples beside each other; where positions lie in front of them, they are not looked for."""
    f = lambda p, x: torch.tanh(p["w"].T @ x.mT).mT  # noqa: E731
    check(f, PARAMS, randn(5, 3, 4, seed=5), recognised={"w"}, unused={"b", "s"})
    check(lambda p, x: (p["w"].T @ x.T).T, PARAMS, randn(5, 4), recognised={"w"}, unused={"b", "s"})
    f = sequence_first_from_the_left
    check(f, PARAMS, randn(5, 3, 4, seed=5), recognised=(), unrecognised={"w"}, unused={"b", "s"})


@pytest.mark.parametrize("head", [torch.zeros(3, 2, dtype=torch.float64), randn(3, 2, seed=4)])
@pytest.mark.parametrize("f", [plain, sequence_first])
def test_a_head_of_zeros_does_not_hide_where_examples_lie(f, head):
    """As many positions as examples: what single examples reach decides, also where their cotangents are zero."""
    x = randn(4, 4, 4, seed=5)
    uses = be.parameter_uses(lambda p, x: f(p, x).sum(1) @ head, PARAMS, x)
    torch.testing.assert_close(uses.uses[0].inputs, x)


def test_where_no_example_reaches_anything_the_axis_is_not_guessed():
    f = lambda p, x: sequence_first(p, x).detach() + 0 * F.relu(sequence_first(p, x) - 100)  # noqa: E731
    uses = be.parameter_uses(f, PARAMS, randn(4, 4, 4, seed=5))
    assert set(uses.unrecognised) == set(PARAMS)
    assert "not to be seen" in uses.unrecognised["w"]
    assert be.parameter_uses(f, PARAMS, randn(4, 5, 4, seed=5)).unrecognised == {}
