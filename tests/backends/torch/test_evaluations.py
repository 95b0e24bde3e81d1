"""What an evaluation leaves behind, and what is asked of functions."""

import gc
import math
import weakref

import pytest
import torch

import curvature as cv
from curvature_torch.backend import TorchBackend

be = TorchBackend()
DOUBLE = torch.float64
N = 5


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


X = randn(N, 4, seed=1)


def test_functions_of_no_parameter(check):
    uses = check(lambda p, x: x * 2, {"w": randn(4, 3)}, X, recognised=set(), unused={"w"})
    assert uses.uses == ()


def test_inputs_may_be_a_tree_or_nothing(check):
    params = {"w": randn(4, 3, seed=1)}
    check(lambda p, x: x["a"][0] @ p["w"], params, {"a": [X]}, recognised={"w"})
    uses = be.parameter_uses(lambda p, x: p["w"] ** 2, params, None)
    assert set(uses.unrecognised) == {"w"}
    with pytest.raises(cv.ModelError, match="tuple"):
        be.parameter_uses(lambda p, x: (x @ p["w"],), params, X)


def test_backward_passes_that_cannot_be_mapped_are_looped(check):
    class Stubborn(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return g * float(g.shape[0] == N) * (1.0 if float(g.abs().sum()) >= 0 else 0.0)

    check(lambda p, x: Stubborn.apply(x @ p["w"]), {"w": randn(4, 3, seed=1)}, X, recognised={"w"})


class Witness(torch.autograd.Function):
    """Leaves an object in the graph, which lives as long as the graph."""

    @staticmethod
    def forward(ctx, x, left):
        ctx.left = left
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g, None


class Left:
    """What is left in the graph."""


def test_the_graph_is_freed_with_the_object():
    left = Left()
    alive = weakref.ref(left)
    holder = [left]
    del left

    gc.disable()
    try:
        uses = be.parameter_uses(lambda p, x: Witness.apply(x @ p["w"], holder.pop()) * 2, {"w": randn(4, 3)}, X)
        uses.cotangents(randn(1, N, 3))
        uses.pull(randn(N, 3))
        kept, outputs = uses.uses, uses.outputs
        assert alive() is not None
        del uses
        assert alive() is None
        assert kept[0].inputs is not None
        assert outputs.shape == (N, 3)
    finally:
        gc.enable()


def test_a_problem_in_a_precision_that_numpy_has_not() -> None:
    kind = torch.bfloat16
    data = (torch.ones((3, 2), dtype=kind), torch.asarray([0, 1, 1]))
    problem = cv.Problem((lambda w, x: x @ w, torch.ones((2, 2), dtype=kind)), cv.Categorical(), data)
    assert float(problem.loss()) == pytest.approx(math.log(2), rel=1e-2)
    with pytest.raises(cv.ModelError, match="NaN or infinite"):
        cv.Problem((lambda w, x: x @ w, torch.full((2, 2), float("nan"), dtype=kind)), cv.Categorical(), data)
