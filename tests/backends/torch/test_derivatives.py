"""Derivatives against finite differences and against each other, and that the caller's tensors are left alone."""

import subprocess
import sys

import optree
import pytest
import torch

import curvature as cv
from curvature_torch.backend import TorchBackend

be = TorchBackend()
xp = be.xp
DOUBLE = torch.float64


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


X, X4 = randn(5, 4, seed=1), randn(3, 2, 6, 5, seed=2)
TOKENS = torch.tensor([0, 3, 3, 1])


def dense(p):
    return torch.tanh(X @ p["w"] + p["b"]) @ p["v"].T


def relu_linear(p):
    return torch.nn.functional.linear(torch.relu(X @ p["w"] + p["b"]), p["v"])


def masked(p):
    h = torch.sigmoid(X @ p["w"] + p["b"])
    return torch.logsumexp(h @ p["v"].T, -1) * xp.where(h > 0.5, h, 0.0).sum(-1)


def convolution(p):
    h = torch.nn.functional.conv2d(X4, p["k"], p["b"][:2], stride=2, padding=1)
    return torch.nn.functional.softplus(h).flatten(1)


def embedding(p):
    return torch.nn.functional.embedding(TOKENS, p["v"]) * p["b"]


def several(p):
    return {"a": dense(p), "b": (p["b"] ** 2, torch.ones(2, dtype=DOUBLE))}


class Cube(torch.autograd.Function):
    """An operation without forward mode."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g


def no_forward_mode(p):
    return Cube.apply(X @ p["w"]) + p["b"] ** 2


def padded_embedding(p):
    return torch.nn.functional.embedding(TOKENS, p["v"], padding_idx=3)


def constant_operands(p):
    h = 2.0 * (X @ p["w"]) / 3.0 + 1.0 - X[:, :3] * p["b"]
    h = (1.0 - h) + (X[:, :1] - p["b"]) + (p["b"] - X[:, :1]) + (h * X[:, 3:]) / X[:, 2:3]
    h -= X[:, :3]
    y = h + 1
    y.mul_(2)  # in place: the tangent of h must survive
    return torch.add(h, X[:, :3], alpha=2) * y * torch.tensor([1, 2, 3]) + (X[:3, :3] @ p["w"][:3, :1]).sum()


def layer_norm(p):
    return torch.nn.functional.layer_norm(X @ p["w"], (3,), p["b"]) @ p["v"].T


FUNCTIONS = [
    dense,
    relu_linear,
    masked,
    convolution,
    embedding,
    several,
    constant_operands,
    layer_norm,
    no_forward_mode,
]


def params(seed=3):
    shapes = {"w": (4, 3), "b": (3,), "v": (6, 3), "k": (2, 2, 3, 3), "unused": (2,)}
    return {name: 0.7 * randn(*shape, seed=seed + i) for i, (name, shape) in enumerate(shapes.items())}


def dot(a, b):
    pairs = zip(optree.tree_leaves(a), optree.tree_leaves(b), strict=True)
    return sum(((u * v).sum() for u, v in pairs), torch.zeros((), dtype=DOUBLE))


def close(a, b, **tolerance):
    assert optree.tree_structure(a) == optree.tree_structure(b)
    for u, v in zip(optree.tree_leaves(a), optree.tree_leaves(b), strict=True):
        torch.testing.assert_close(u, v, **tolerance)


def moved(p, v, t):
    return optree.tree_map(lambda a, b: a + t * b, p, v)


def directional(f, p, v, step=1e-5):
    return optree.tree_map(lambda a, b: (a - b) / (2 * step), f(moved(p, v, step)), f(moved(p, v, -step)))


def like(tree, seed):
    leaves, spec = optree.tree_flatten(tree)
    return optree.tree_unflatten(spec, [randn(*a.shape, seed=seed + i) for i, a in enumerate(leaves)])


def scalar(f):
    def loss(p):
        leaves = optree.tree_leaves(f(p))
        return sum(torch.log_softmax(y.reshape(1, -1), -1)[0, 0] + 0.3 * (y**3).mean() for y in leaves)

    return loss


@pytest.mark.parametrize("f", FUNCTIONS)
def test_jvp_is_the_directional_derivative(f):
    p, v = params(), params(50)
    value, pushed = be.jvp(f, p, v)
    close(value, f(p))
    close(pushed, directional(f, p, v), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_all_first_order_maps_agree_and_are_adjoint(f):
    p, v = params(), params(50)
    u = like(f(p), 90)
    pushed = be.jvp(f, p, v)[1]

    value, pull = be.vjp(f, p)
    close(value, f(p))
    pulled = pull(u)
    torch.testing.assert_close(dot(u, pushed), dot(pulled, v))
    close(pull(u), pulled)  # may be called again

    value, push, pull = be.linearize(f, p)
    close(value, f(p))
    for w in (v, params(70), v):
        close(push(w), be.jvp(f, p, w)[1])
        close(pull(u), pulled)

    value, both, pull = be.jvp_and_pull(f, p, v)
    close(value, f(p))
    close(both, pushed)
    close(pull(u), pulled)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_gradients_and_hessian_products(f):
    p, v = params(), params(50)
    loss = scalar(f)
    value, gradient = be.value_and_gradient(loss, p)
    torch.testing.assert_close(value, loss(p))
    torch.testing.assert_close(dot(gradient, v), directional(loss, p, v), rtol=1e-6, atol=1e-8)

    product = be.hvp(loss, p, v)
    close(product, directional(lambda q: be.value_and_gradient(loss, q)[1], p, v), rtol=1e-6, atol=1e-7)
    w = params(70)
    torch.testing.assert_close(dot(product, w), dot(be.hvp(loss, p, w), v))


def test_padding_rows_of_an_embedding_are_adjoint_too():
    p, v = params(), params(50)
    u = like(padded_embedding(p), 90)
    pulled = be.vjp(padded_embedding, p)[1](u)
    assert not pulled["v"][3].any()
    torch.testing.assert_close(dot(u, be.jvp(padded_embedding, p, v)[1]), dot(pulled, v))
    torch.testing.assert_close(dot(u, be.jvp_and_pull(padded_embedding, p, v)[1]), dot(pulled, v))


def test_forward_mode_gives_no_warnings_of_torch():
    code = """if True:
        import warnings, torch
        from curvature_torch.backend import TorchBackend
        warnings.simplefilter("error")
        TorchBackend().jvp(torch.exp, torch.ones(2), torch.ones(2))
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_hessian_product_agrees_with_torch():
    p, v = params(), params(50)
    names = sorted(p)

    def loss(*arrays):
        return scalar(masked)(dict(zip(names, arrays, strict=True)))

    arrays, tangents = tuple(p[n] for n in names), tuple(v[n] for n in names)
    expected = torch.autograd.functional.hvp(loss, arrays, tangents)[1]
    close(be.hvp(scalar(masked), p, v), dict(zip(names, expected, strict=True)))


def test_functions_of_no_parameter_have_zero_derivatives():
    p, v = params(), params(50)
    zeros = optree.tree_map(torch.zeros_like, p)
    constant = torch.ones(2, dtype=DOUBLE)
    close(be.jvp(lambda p: constant, p, v)[1], torch.zeros_like(constant))
    close(be.vjp(lambda p: constant, p)[1](constant), zeros)
    _, push, pull = be.linearize(lambda p: constant, p)
    close(push(v), torch.zeros_like(constant))
    close(pull(constant), zeros)
    close(be.hvp(lambda p: constant.sum(), p, v), zeros)
    close(be.hvp(lambda p: p["w"].sum(), p, v), zeros)


@pytest.mark.parametrize("requires", [False, True])
@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_the_callers_tensors_and_modes_are_left_alone(requires, context):
    p, v = params(), params(50)
    expected = be.hvp(scalar(dense), p, v)
    tracked = optree.tree_map(lambda a: a.clone().requires_grad_(requires), p)
    with context():
        u = torch.ones_like(dense(p))
        grad_mode = torch.is_grad_enabled()
        results = [
            be.value_and_gradient(scalar(dense), tracked),
            be.vjp(dense, tracked)[1](u),
            be.jvp(dense, tracked, v),
            be.linearize(dense, tracked)[1](v),
            be.jvp_and_pull(dense, tracked, v)[2](u),
            be.hvp(scalar(dense), tracked, v),
            be.parameter_uses(lambda p, x: dense(p), tracked, None).pull(u),
        ]
        assert torch.is_grad_enabled() == grad_mode
    close(results[-2], expected)
    for a, b in zip(optree.tree_leaves(tracked), optree.tree_leaves(p), strict=True):
        assert a.requires_grad is requires
        assert a.grad is None
        assert torch.equal(a, b)
    assert not any(a.requires_grad for a in optree.tree_leaves(results))


def test_parameters_made_in_inference_mode():
    with torch.inference_mode():
        p, v = params(), params(50)
    close(be.hvp(scalar(dense), p, v), be.hvp(scalar(dense), params(), params(50)))


def test_float32_stays_float32():
    p, v = (optree.tree_map(torch.Tensor.float, t) for t in (params(), params(50)))

    def f(p):
        return torch.tanh(X.float() @ p["w"]) @ p["v"].T

    results = [be.jvp(f, p, v), be.hvp(lambda p: f(p).sum(), p, v), be.linearize(f, p)[1](v)]
    assert {a.dtype for a in optree.tree_leaves(results)} == {torch.float32}


def test_trees_of_the_wrong_structure_are_refused():
    p, v = params(), params(50)
    del v["w"]
    for call in (be.jvp, be.jvp_and_pull):
        with pytest.raises(cv.ShapeError, match="tangent"):
            call(dense, p, v)
    with pytest.raises(cv.ShapeError, match="tangent"):
        be.hvp(scalar(dense), p, v)
    with pytest.raises(cv.ShapeError, match="cotangent"):
        be.vjp(dense, p)[1]({"y": dense(p)})


def test_errors_of_the_function_itself_are_passed_on():
    def broken(p):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        be.hvp(broken, params(), params(50))


def test_vmap_and_jit():
    p = params()
    mapped = be.vmap(lambda p, x: torch.tanh(x @ p["w"]), (None, 0))(p, X)
    torch.testing.assert_close(mapped, torch.tanh(X @ p["w"]))
    columns = be.vmap(be.vjp(dense, p)[1])(torch.stack([dense(p), 2 * dense(p)]))
    close(optree.tree_map(lambda a: a[1], columns), be.vjp(dense, p)[1](2 * dense(p)))
    assert be.jit(dense) is dense
