"""Parts of a parameter, however they are taken: which entries enter is learnt by moving their numbers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from curvature_torch.backend import TorchBackend

be = TorchBackend()
N = 5


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = randn(N, 4, seed=1)
MATRICES = {
    "slice": lambda w: w[1:5, ::2],
    "integers": lambda w: w[[3, 0, 5, 3]],
    "index array": lambda w: w[torch.tensor([3, 0, 5, 3])],
    "two index arrays": lambda w: w[torch.tensor([[3], [0], [5], [1]]), torch.tensor([0, 4])],
    "mask": lambda w: w[torch.tensor([True, False, True, True, False, True])],
    "chunk": lambda w: w.T.chunk(3, dim=1)[1][:4],
    "split": lambda w: torch.split(w, [2, 4])[1],
    "unbind": lambda w: w.reshape(5, 2, 3).unbind(1)[1][1:],
    "narrow": lambda w: w.narrow(0, 2, 4),
    "select": lambda w: w.reshape(2, 5, 3).select(0, 1)[:4],
    "index_select": lambda w: w.index_select(0, torch.tensor([1, 1, 2, 5])),
    "gather": lambda w: w.gather(0, torch.tensor([[0, 1, 2, 3, 4], [5, 4, 3, 2, 1], [0] * 5, [1] * 5])),
    "take": lambda w: w.take(torch.arange(12).reshape(4, 3) * 2),
    "flip": lambda w: w.flip(0)[:4],
    "roll": lambda w: torch.roll(w, 2, 1)[:4],
    "rot90": lambda w: torch.rot90(w)[:4],
    "movedim": lambda w: w.reshape(3, 2, 5).movedim(1, 0).reshape(6, 5)[:4],
    "permute": lambda w: w.reshape(2, 5, 3).permute(2, 0, 1).reshape(6, 5)[:4],
    "repeat": lambda w: w[:2].repeat(2, 1),
    "tile": lambda w: w[:2].tile(2, 2),
    "expand": lambda w: w[0][None].expand(4, 5),
    "repeat_interleave": lambda w: w[:2].repeat_interleave(2, 0),
    "reshaped transpose": lambda w: w.T.reshape(6, 5)[:4],
    "diagonal": lambda w: w.reshape(3, 2, 5).diagonal(0, 0, 1).reshape(2, 5).repeat(2, 1),
    "swapaxes of three": lambda w: w.reshape(2, 3, 5).swapaxes(0, 2).reshape(5, 6)[:4],
}


@pytest.mark.parametrize("part", MATRICES.values(), ids=MATRICES.keys())
def test_matrices(check, part):
    params = {"w": randn(6, 5, seed=1)}
    numbers = torch.arange(30).reshape(6, 5)
    uses = check(lambda p, x: torch.tanh(x @ part(p["w"])), params, X, recognised={"w"})
    assert uses.uses[0].matrix_shape == tuple(part(numbers).shape)
    assert torch.equal(uses.uses[0].entries, part(numbers).reshape(-1))
    check(lambda p, x: torch.tanh(F.linear(x, part(p["w"]).T)), params, X, recognised={"w"})
    check(lambda p, x: torch.tanh(x[:, :1] * part(p["w"]).reshape(-1)), params, X, recognised={"w"})
    check(lambda p, x: torch.tanh(x[:, :1] - part(p["w"]).reshape(-1)), params, X, recognised={"w"})


def test_several_parts_of_one_parameter(check):
    """Three projections in one array, as in attention."""
    params = {"w": randn(9, 4, seed=1), "b": randn(9, seed=2)}

    def f(p, x):
        q, k, v = (F.linear(x, w, b) for w, b in zip(p["w"].chunk(3), p["b"].chunk(3), strict=True))
        return torch.tanh(q * k) * v

    uses = check(f, params, X, recognised={"w", "b"})
    assert [u.kind for u in uses.uses] == ["linear", "shift"] * 3


@pytest.mark.parametrize(
    "same",
    [
        lambda w: w.reshape(2, 12)[None].squeeze(0).view(6, 4),
        lambda w: w.T.T,
        lambda w: w.clone().contiguous().to(torch.float64).double(),
        lambda w: w[None, :, None][0, :, 0],
        lambda w: w.unflatten(0, (2, 3)).flatten(0, 1),
        lambda w: w.transpose(0, 1).swapaxes(-1, -2).permute(0, 1),
    ],
)
def test_the_whole_parameter_needs_no_entries(check, same):
    uses = check(lambda p, x: torch.tanh(F.linear(x, same(p["w"]))), {"w": randn(6, 4, seed=1)}, X, recognised={"w"})
    if uses.uses[0].entries is not None:  # an index that takes everything, though not in a way that is seen at once
        assert uses.uses[0].entries.tolist() == list(range(24))


def test_stacks_of_matrices(check):
    """One matrix for each head: groups, and entries unless the parameter lies in the layout of one matrix."""
    x = randn(N, 2, 3, 4, seed=2)
    uses = check(lambda p, x: torch.tanh(x @ p["w"].reshape(2, 5, 4).mT), {"w": randn(10, 4, seed=1)}, x, recognised={"w"})
    assert [(u.groups, u.matrix_shape, u.transposed, u.entries) for u in uses.uses] == [(2, (10, 4), True, None)]
    uses = check(lambda p, x: torch.tanh(x @ p["w"]), {"w": randn(2, 4, 5, seed=1)}, x, recognised={"w"})
    assert uses.uses[0].entries is not None
    check(lambda p, x: torch.tanh(x[:, :1] @ p["w"]), {"w": randn(2, 4, 5, seed=1)}, x, recognised={"w"})
    params = {"w": randn(2, 4, 5, seed=1), "b": randn(2, 1, 5, seed=2)}
    uses = check(lambda p, x: torch.tanh(x @ p["w"] + p["b"]), params, x, recognised={"w", "b"})
    assert [u.bias for u in uses.uses] == ["b"]
    f = lambda p, x: torch.bmm(x[:, :, 0].transpose(0, 1), p["w"]).transpose(0, 1)  # noqa: E731
    uses = check(f, {"w": randn(2, 4, 5, seed=1)}, x, recognised={"w"})
    assert uses.uses[0].inputs.shape == (N, 8)


MOVES = {
    "T": lambda w: w.mT if w.ndim > 1 else w,
    "flip": lambda w: w.flip(0),
    "flat": lambda w: w.reshape(-1),
    "square": lambda w: w.reshape(4, -1),
    "stack": lambda w: w.reshape(2, 3, -1),
    "roll": lambda w: w.roll(1, -1),
    "unsqueeze": lambda w: w.unsqueeze(0),
    "squeeze": lambda w: w.squeeze(),
    "repeated once": lambda w: w.repeat_interleave(1, 0),
    "movedim": lambda w: w.movedim(0, -1),
}


@given(st.lists(st.sampled_from(sorted(MOVES)), max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_sequence_of_moves(moves):
    """s = x ∘ (moved w): the entries are those that move like their numbers."""

    def moved(w):
        for name in moves:
            w = MOVES[name](w)
        return w.reshape(-1)

    w = randn(6, 4, seed=1)
    uses = be.parameter_uses(lambda p, x: x * moved(p["w"]), {"w": w}, randn(N, 24, seed=2))
    (use,) = uses.uses
    expected = moved(torch.arange(24).reshape(6, 4))
    assert torch.equal(torch.arange(24) if use.entries is None else use.entries, expected)
