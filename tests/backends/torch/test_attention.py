"""Attention, whose fused kernels have no second derivative: every product as from a softmax that is written out."""

import threading
import warnings

import optree
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

import curvature as cv
from curvature_torch.backend import TorchBackend

be = TorchBackend()
DOUBLE = torch.float64
N, T, D, HEADS, C = 5, 3, 4, 2, 3


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


X, Y = randn(N, T, D, seed=1), torch.tensor([0, 2, 1, 1, 0])


def written_out(q, k, v, causal):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    if causal:
        scores = scores.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), -torch.inf)
    return torch.softmax(scores, -1) @ v


def fused(q, k, v, causal):
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def single(attention):
    def f(p, x):
        h = attention(*((x @ p[name])[:, None] for name in "qkv"), True)  # torch fuses only with an axis of heads
        return torch.tanh(h[:, 0]).mean(1) @ p["out"]

    return f


def several_heads(p, x, attention=written_out):
    q, k, v = F.linear(x, p["in_proj_weight"], p["in_proj_bias"]).chunk(3, -1)
    heads = [a.unflatten(-1, (HEADS, -1)).transpose(1, 2) for a in (q, k, v)]
    h = attention(*heads, False).transpose(1, 2).flatten(-2)
    return F.linear(h, p["out_proj.weight"], p["out_proj.bias"])


def encoder_written_out(p, x):
    own = {name.removeprefix("self_attn."): a for name, a in p.items()}
    x = F.layer_norm(x + several_heads(own, x), (D,), p["norm1.weight"], p["norm1.bias"])
    h = F.linear(F.gelu(F.linear(x, p["linear1.weight"], p["linear1.bias"])), p["linear2.weight"], p["linear2.bias"])
    return F.layer_norm(x + h, (D,), p["norm2.weight"], p["norm2.bias"])


def summarised(f):
    return lambda p, x: torch.tanh(f(p, x)).mean(1)[:, :C]


def of_module(module, *arguments):
    def f(p, x):
        outputs = torch.func.functional_call(module, p, (x,) if not arguments else (x, x, x), *arguments)
        return outputs[0] if isinstance(outputs, tuple) else outputs

    return summarised(f)


def module_params(module, seed=30):
    shapes = {name: p.shape for name, p in module.named_parameters()}
    return {name: 0.6 * randn(*shape, seed=seed + i) for i, (name, shape) in enumerate(shapes.items())}


def multihead(training=True):
    return nn.MultiheadAttention(D, HEADS, batch_first=True, dtype=DOUBLE).train(training)


def encoder(training):
    layer = nn.TransformerEncoderLayer(D, HEADS, 5, dropout=0.0, activation="gelu", batch_first=True, dtype=DOUBLE)
    return layer.train(training)


PROJECTIONS = {"q": randn(D, 3, seed=10), "k": randn(D, 3, seed=11), "v": randn(D, 3, seed=12), "out": randn(3, C, seed=13)}
MODELS = {
    "scaled_dot_product_attention": (single(fused), single(written_out), PROJECTIONS),
    "MultiheadAttention train": (
        of_module(multihead(), {"need_weights": False}),
        summarised(several_heads),
        module_params(multihead()),
    ),
    "MultiheadAttention eval": (
        of_module(multihead(False), {"need_weights": False}),
        summarised(several_heads),
        module_params(multihead()),
    ),
    "TransformerEncoderLayer train": (of_module(encoder(True)), summarised(encoder_written_out), module_params(encoder(True))),
    "TransformerEncoderLayer eval": (of_module(encoder(False)), summarised(encoder_written_out), module_params(encoder(True))),
}
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def close(a, b):
    for u, v in zip(optree.tree_leaves(a), optree.tree_leaves(b), strict=True):
        torch.testing.assert_close(u, v, **EXACT)


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def case(request):
    return request.param


@pytest.fixture(autouse=True)
def switches_are_left_alone():
    def read():
        cuda = torch.backends.cuda
        return cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.cudnn_sdp_enabled(), cuda.math_sdp_enabled()

    before = read()
    yield
    assert read() == before


@pytest.mark.parametrize("matrix", [cv.Fisher, cv.GGN, cv.Hessian])
def test_products_of_a_problem(case, matrix):
    f, expected, params = case
    problems = [cv.Problem((model, params), cv.Categorical(), (X, Y)) for model in (f, expected)]
    v = randn(problems[0].space.size, 2, seed=7)
    ours, reference = (matrix(problem) @ v for problem in problems)
    assert reference.abs().max() > 1e-3
    torch.testing.assert_close(ours, reference, **EXACT)


def test_every_derivative(case):
    f, expected, params = case
    v = optree.tree_map(torch.ones_like, params)
    u = randn(N, C, seed=8)

    def results(model):
        def outputs(p):
            return model(p, X)

        def loss(p):
            return torch.logsumexp(model(p, X), -1).sum()

        _, push, pull = be.linearize(outputs, params)
        _, pull_only = be.vjp(outputs, params)
        yield be.value_and_gradient(loss, params)
        yield push(v), pull(u), pull_only(u)
        yield be.jvp(outputs, params, v)
        yield be.jvp_and_pull(outputs, params, v)[2](u)
        yield be.hvp(loss, params, v)
        yield be.jvp(pull_only, u, u)  # maps that the caller has are differentiable
        yield be.vmap(pull_only)(torch.stack([u, 2 * u]))
        yield be.jvp(lambda p: be.value_and_gradient(loss, p)[1], params, v)
        yield be.value_and_gradient(lambda p: sum(g.square().sum() for g in be.value_and_gradient(loss, p)[1].values()), params)
        yield be.vmap(lambda t: be.hvp(loss, params, t))(optree.tree_map(lambda a: torch.stack([a, 3 * a]), v))
        with torch.no_grad():  # left before the yield: two of these generators run in turns
            without_grad = be.jvp(outputs, params, v), be.hvp(loss, params, v)
        yield without_grad

    for ours, reference in zip(results(f), results(expected), strict=True):
        close(ours, reference)


def test_uses_and_the_diagonal(case):
    f, expected, params = case
    problem = cv.Problem((f, params), cv.Categorical(), (X, Y))
    fisher = cv.Fisher(problem)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.FallbackWarning)
        found = cv.approximate(fisher, "diagonal").diagonal()
    reference = cv.Fisher(cv.Problem((expected, params), cv.Categorical(), (X, Y))).to_dense()
    torch.testing.assert_close(found, reference.diagonal(), **EXACT)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the fused kernels' backward passes cannot be mapped, which torch says so
        uses, others = be.parameter_uses(f, params, X), be.parameter_uses(expected, params, X)
        seeds = randn(3, N, C, seed=9)
        uses.cotangents(seeds)
    close(uses.pull_both(seeds[0])[0], others.pull_both(seeds[0])[0])


def test_examples_and_positions_of_one_number_are_not_mistaken():
    # MultiheadAttention puts positions first; with N = T only their content tells them apart.
    f, expected, params = MODELS["MultiheadAttention eval"]
    found, reference = (cv.Fisher(cv.Problem((model, params), cv.Categorical(), (X[:T], Y[:T]))) for model in (f, expected))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.FallbackWarning)
        diagonal = cv.approximate(found, "diagonal").diagonal()
    torch.testing.assert_close(diagonal, reference.to_dense().diagonal(), **EXACT)


@pytest.mark.parametrize("name", ["hvp", "linearize", "parameter_uses"])
def test_checkpointed_attention_is_evaluated_again_in_the_same_way(name):
    def f(p, x):
        return checkpoint(single(fused), p, x, use_reentrant=False)

    def loss(p):
        return torch.logsumexp(f(p, X), -1).sum()

    v, seeds = optree.tree_map(torch.ones_like, PROJECTIONS), randn(1, N, C, seed=9)
    plain = single(written_out)
    if name == "hvp":
        expected = be.hvp(lambda p: torch.logsumexp(plain(p, X), -1).sum(), PROJECTIONS, v)
        close(be.hvp(loss, PROJECTIONS, v), expected)
    elif name == "linearize":
        close(be.linearize(lambda p: f(p, X), PROJECTIONS)[1](v), be.jvp(lambda p: plain(p, X), PROJECTIONS, v)[1])
    else:
        expected = be.vjp(lambda p: plain(p, X), PROJECTIONS)[1](seeds[0])
        close(be.parameter_uses(f, PROJECTIONS, X).pull_both(seeds[0])[0], expected)
    close(be.value_and_gradient(loss, PROJECTIONS)[0], loss(PROJECTIONS))


def test_a_plain_gradient_keeps_the_fused_kernel():
    def loss(p):
        seen.append(torch.backends.cuda.flash_sdp_enabled())
        return single(fused)(p, X).sum()

    seen = []
    value, _ = be.value_and_gradient(loss, PROJECTIONS)
    be.hvp(loss, PROJECTIONS, PROJECTIONS)
    assert seen == [True, False]
    assert torch.equal(value, loss(PROJECTIONS))


def test_threads_leave_the_callers_choice_when_the_last_is_done():
    inside, first_done = threading.Barrier(2, timeout=20), threading.Event()
    seen = []

    def waiting(last):
        def f(p):
            inside.wait()
            if last:
                assert first_done.wait(20)
            seen.append(torch.backends.cuda.flash_sdp_enabled())
            return single(fused)(p, X).sum()

        return f

    def first():
        be.hvp(waiting(False), PROJECTIONS, PROJECTIONS)
        first_done.set()

    thread = threading.Thread(target=first)
    thread.start()
    be.hvp(waiting(True), PROJECTIONS, PROJECTIONS)
    thread.join()
    assert seen == [False, False]
    assert torch.backends.cuda.flash_sdp_enabled()


def test_a_kernel_that_the_function_asks_for_is_refused_with_the_remedy():
    def loss(p):
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            h = (X @ p["q"])[:, None]
            return F.scaled_dot_product_attention(h, h, h).sum()

    be.value_and_gradient(loss, PROJECTIONS)
    with pytest.raises(cv.UnsupportedError, match=r"scaled_dot_product.*SDPBackend\.MATH"):
        be.hvp(loss, PROJECTIONS, PROJECTIONS)
