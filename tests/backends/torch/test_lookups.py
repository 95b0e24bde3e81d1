"""Rows of tables: embeddings of words and of positions, and everything that indexes."""

import pytest
import torch
from torch.nn import functional as F

N, T = 5, 3
IDS = torch.tensor([[0, 1, 1], [2, 2, 2], [3, 0, 4], [1, 4, 4], [0, 0, 3]])


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


TABLE = {"w": randn(6, 4, seed=1)}
WRITTEN = {
    "F.embedding": lambda w, ids: F.embedding(ids, w),
    "torch.embedding": lambda w, ids: torch.embedding(w, ids),
    "index": lambda w, ids: w[ids],
    "negative index": lambda w, ids: w[ids - 6],
    "index_select": lambda w, ids: torch.index_select(w, 0, ids.reshape(-1)).view(-1, T, 4),
    "of flat numbers": lambda w, ids: F.embedding(ids.view(-1), w).unflatten(0, (-1, T)),
    "int32": lambda w, ids: F.embedding(ids.int(), w),
}


@pytest.mark.parametrize("f", WRITTEN.values(), ids=WRITTEN.keys())
def test_words(check, f):
    for ids in (IDS, IDS[:1]):
        uses = check(lambda p, x: torch.tanh(f(p["w"], x)).sum(1), TABLE, ids, recognised={"w"})
        assert [(u.kind, u.matrix_shape, u.entries) for u in uses.uses] == [("embedding", (6, 4), None)]
        assert torch.equal(uses.uses[0].inputs, ids)


def test_one_number_for_each_example(check):
    uses = check(lambda p, x: torch.tanh(p["w"][x]), TABLE, IDS[:, 0], recognised={"w"})
    assert uses.uses[0].inputs.shape == (N,)


def test_rows_of_other_shapes(check):
    check(lambda p, x: torch.tanh(p["w"][x]), {"w": randn(6, seed=1)}, IDS, recognised={"w"})
    uses = check(lambda p, x: torch.tanh(p["w"][x]), {"w": randn(6, 2, 3, seed=1)}, IDS, recognised={"w"})
    assert uses.uses[0].matrix_shape == (6, 6)


@pytest.mark.parametrize("padding", [0, 4, -1])
def test_padding_rows_get_no_gradient(check, padding):
    uses = check(lambda p, x: torch.tanh(F.embedding(x, p["w"], padding)), TABLE, IDS, recognised={"w"})
    assert uses.uses[0].kind == "embedding"


POSITIONS = {
    "ids for all": lambda w, x: F.embedding(torch.arange(T)[None], w),
    "ids alone": lambda w, x: w[torch.arange(T)],
    "ids of each": lambda w, x: F.embedding(torch.arange(T).expand(len(x), T), w),
    "with an axis": lambda w, x: F.embedding(torch.arange(T), w)[None],
    "unsqueezed": lambda w, x: F.embedding(torch.arange(T), w).unsqueeze(0),
    "padded": lambda w, x: F.embedding(torch.arange(T)[None] + 1, w, 2),
}


@pytest.mark.parametrize("positions", POSITIONS.values(), ids=POSITIONS.keys())
def test_words_and_positions(check, positions):
    params = {"words": randn(6, 4, seed=1), "positions": randn(8, 4, seed=2)}
    for ids in (IDS, IDS[:1], IDS[:T]):
        f = lambda p, x: torch.tanh(F.embedding(x, p["words"]) + positions(p["positions"], x))  # noqa: E731
        uses = check(f, params, ids, recognised=set(params))
        assert sorted((u.kind, u.parameter) for u in uses.uses) == [("embedding", "positions"), ("embedding", "words")]


def test_words_that_are_subtracted_or_scaled(check):
    params = {"w": randn(6, 4, seed=1), "s": randn(4, seed=2), "m": randn(4, 2, seed=3)}
    for ids in (IDS, IDS[:1]):
        f = lambda p, x: torch.tanh(p["s"] - p["w"][x]) @ p["m"] + (p["w"][x] * p["s"]) @ p["m"]  # noqa: E731
        uses = check(f, params, ids, recognised=set(params))
        assert {u.kind for u in uses.uses if u.parameter == "w"} == {"embedding"}


def test_a_table_that_is_also_the_head(check):
    f = lambda p, x: torch.tanh(F.embedding(x, p["w"])) @ p["w"].T  # noqa: E731
    uses = check(f, TABLE, IDS, recognised={"w"})
    assert sorted((u.kind, u.transposed) for u in uses.uses) == [("embedding", False), ("linear", True)]


def test_a_table_that_is_a_part_of_a_parameter(check):
    uses = check(lambda p, x: torch.tanh(F.embedding(x, p["w"][1:, :3])), TABLE, IDS, recognised={"w"})
    assert uses.uses[0].matrix_shape == (5, 3)
    assert uses.uses[0].entries.tolist() == [4 * row + column for row in range(1, 6) for column in range(3)]


def test_relative_positions_of_attention(check):
    """A table of biases for pairs of positions, reshaped and permuted before it is added to the scores."""
    pairs = torch.arange(T)[:, None] - torch.arange(T)[None] + T - 1

    def f(p, x):
        bias = p["table"][pairs.view(-1)].view(T, T, -1).permute(2, 0, 1).contiguous()
        return torch.softmax(x + bias.unsqueeze(0), -1)

    uses = check(f, {"table": randn(2 * T - 1, 2, seed=1)}, randn(N, 2, T, T, seed=2), recognised={"table"})
    assert [(u.kind, u.matrix_shape) for u in uses.uses] == [("shift", (1, 2 * T * T))]


@pytest.mark.parametrize("options", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}], ids=str)
def test_options_that_are_not_functions_of_the_table(options):
    from curvature_torch.backend import TorchBackend

    uses = TorchBackend().parameter_uses(lambda p, x: F.embedding(x, p["w"], **options), {"w": randn(6, 4)}, IDS)
    assert set(uses.unrecognised) == {"w"}
    assert "embedding" in uses.unrecognised["w"]


def test_sparse_gradients_come_dense(check):
    check(lambda p, x: torch.tanh(F.embedding(x, p["w"], sparse=True)), TABLE, IDS, recognised=(), unrecognised={"w"})


def test_bags_are_named(check):
    uses = check(lambda p, x: F.embedding_bag(x, p["w"]), TABLE, IDS, recognised=(), unrecognised={"w"})
    assert "embedding_bag" in uses.unrecognised["w"]
