"""Gradients of each example of what has no structure: several examples at once where torch can map the model."""

import warnings

import pytest
import torch
from torch import nn

import curvature as cv
from curvature.problem import general
from curvature_torch.backend import TorchBackend


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y = randn(6, 4, 5, seed=1), torch.arange(6) % 3
CALLS = []


def mappable(p, x):
    CALLS.append(tuple(x.shape))
    return torch.tanh(torch.einsum("nti,io->no", x, p["w"].exp())) @ p["v"].cos()


def data_dependent(p, x):
    CALLS.append(tuple(x.shape))
    h = torch.tanh(torch.einsum("nti,io->no", x, p["w"].exp()))
    return (h if float(h.detach().sum()) < 1e9 else -h) @ p["v"].cos()


PARAMS = {"w": randn(5, 7, seed=2), "v": randn(7, 3, seed=3)}


def dense_diagonal(problem):
    return cv.Fisher(problem).to_dense().diagonal()


@pytest.mark.parametrize("f", [mappable, data_dependent])
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 0.5, 2.0, 0.0, 1.0, 3.0], dtype=torch.float64)])
@pytest.mark.parametrize("chunk", [2**24, 130, 1])
def test_the_diagonal_is_the_dense_one(f, weights, chunk, monkeypatch):
    monkeypatch.setattr(general, "_CHUNK", chunk)
    data = (X, Y) if weights is None else (X, Y, weights)
    problem = cv.Problem((f, PARAMS), cv.Categorical(), data)
    with pytest.warns(cv.FallbackWarning, match="'w'"):
        diagonal = cv.approximate(cv.Fisher(problem), "diagonal").diagonal()
    torch.testing.assert_close(diagonal, dense_diagonal(problem), rtol=1e-10, atol=1e-13)


def calls_of(f, examples, monkeypatch):
    """Shapes of x in the calls of f, with memory for the gradients of so many examples."""
    problem = cv.Problem((f, PARAMS), cv.Categorical(), (X, Y))
    evaluation = problem.evaluate(next(problem.batches()))
    factor = problem.likelihood.fisher_factor(evaluation.outputs)
    monkeypatch.setattr(general, "_CHUNK", examples * PARAMS["w"].numel() * factor.shape[2])
    CALLS.clear()
    general.example_gradients(evaluation, ["w"], factor)
    return list(CALLS)


def test_examples_are_taken_at_once_within_the_memory(monkeypatch):
    assert calls_of(mappable, 100, monkeypatch) == [(1, 4, 5)]
    assert calls_of(mappable, 2, monkeypatch) == [(1, 4, 5)] * 3
    assert calls_of(mappable, 1, monkeypatch) == [(1, 4, 5)] * 6


def test_what_cannot_be_mapped_is_looped(monkeypatch):
    assert calls_of(data_dependent, 100, monkeypatch) == [(1, 4, 5)] * 7  # one attempt and six examples


def test_an_error_of_the_model_itself_is_not_hidden(monkeypatch):
    broken = []

    def f(p, x):
        if broken:
            raise ValueError("broken")
        return mappable(p, x)

    problem = cv.Problem((f, PARAMS), cv.Categorical(), (X, Y))
    evaluation = problem.evaluate(next(problem.batches()))
    factor = problem.likelihood.fisher_factor(evaluation.outputs)
    broken.append(True)
    with pytest.raises(ValueError, match="broken"):
        general.example_gradients(evaluation, ["w"], factor)


def test_a_backend_that_does_not_map_natively_is_never_asked(monkeypatch):
    monkeypatch.setattr(TorchBackend, "vmap", lambda self, f, in_axes=0: pytest.fail("asked"))
    problem = cv.Problem((mappable, PARAMS), cv.Categorical(), (X, Y))
    claims = dict(problem.backend.capabilities)
    claims["vmap"] = cv.Claim(cv.Support.DERIVED, "for this test")
    monkeypatch.setattr(problem.backend, "capabilities", claims)
    with pytest.warns(cv.FallbackWarning):
        cv.approximate(cv.Fisher(problem), "diagonal")


@pytest.mark.parametrize(
    "module",
    [nn.Bilinear(4, 5, 3), nn.ConvTranspose1d(4, 3, 2), nn.LSTM(5, 3, proj_size=2, batch_first=True)],
    ids=lambda m: type(m).__name__,
)
def test_modules_that_are_not_understood(module):
    """Their numbers are right all the same, also of a sequence that torch cannot map; inputs may be several."""
    module = module.double()
    x = (randn(6, 4, seed=1), randn(6, 5, seed=2)) if isinstance(module, nn.Bilinear) else X
    model = cv.as_model(module, output=lambda r: (r[0] if isinstance(r, tuple) else r).flatten(1)[:, :3])
    problem = cv.Problem(model, cv.Categorical(), (x, Y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.FallbackWarning)
        exact = cv.approximate(cv.Fisher(problem), "exact").to_dense()
    torch.testing.assert_close(exact, cv.Fisher(problem).to_dense(), rtol=1e-9, atol=1e-12)
