"""Every function with a rule against torch.func in float64: value, push, pull and Hessian-vector product."""

from __future__ import annotations

import array_api_compat.torch as torch_xp
import numpy as np
import pytest
import torch

from curvature import autodiff
from curvature.backend import namespace

TOLERANCE = 1e-12


def matrices(a):
    """A well-conditioned matrix from any square one."""
    return a + 4.0 * namespace_eye(a)


def namespace_eye(a):
    xp = torch_xp if isinstance(a, torch.Tensor) else namespace(a)
    return xp.eye(a.shape[-1], dtype=a.dtype, device=a.device)


def spd(xp, a):
    return xp.matmul(a, xp.matrix_transpose(a)) + 2.0 * xp.eye(a.shape[-1], dtype=a.dtype, device=a.device)


def index(xp, like, values):
    return xp.asarray(values, dtype=xp.int64, device=like.device)


UNARY = {
    "exp": 0, "expm1": 0, "sin": 0, "cos": 0, "tan": 0, "asin": "unit", "acos": "unit", "atan": 0, "sinh": 0, "cosh": 0,
    "tanh": 0, "asinh": 0, "acosh": "above one", "atanh": "unit", "log": "positive", "log1p": "positive",
    "log2": "positive", "log10": "positive", "sqrt": "positive", "square": 0, "reciprocal": "positive", "abs": 0,
    "negative": 0, "positive": 0,
}  # fmt: skip
DOMAINS = {
    0: lambda x: x,
    "unit": lambda x: np.tanh(x) * 0.9,
    "positive": lambda x: np.abs(x) + 0.3,
    "above one": lambda x: np.abs(x) + 1.3,
}
CASES = {name: (lambda xp, x, name=name: getattr(xp, name)(x), [(2, 3)], domain) for name, domain in UNARY.items()}
CASES |= {
    "add": (lambda xp, a, b: a + b, [(2, 3), (3,)]),
    "subtract": (lambda xp, a, b: a - b, [(3,), (2, 3)]),
    "multiply": (lambda xp, a, b: a * b, [(2, 1), (2, 3)]),
    "multiply by itself": (lambda xp, a: a * a * a, [(3,)]),
    "divide": (lambda xp, a, b: a / b, [(2, 3), (2, 1)], "positive"),
    "pow": (lambda xp, a, b: a**b, [(2, 3), (3,)], "positive"),
    "pow of numbers": (lambda xp, a: 2.0**a + a**2 + a**3 + a**0.5 + a**-1 + a**1, [(3,)], "positive"),
    "remainder": (lambda xp, a, b: a % b, [(2, 3), (3,)], "positive"),
    "numbers on the left": (lambda xp, a: 1.0 - 2.0 * a + 3.0 / a - (-a), [(3,)], "positive"),
    "maximum": (lambda xp, a, b: xp.maximum(a, b) * a, [(2, 3), (3,)]),
    "minimum": (lambda xp, a, b: xp.minimum(a, b) * a, [(2, 3), (3,)]),
    "relu": (lambda xp, a: xp.maximum(a, 0.0) * a, [(4, 3)]),
    "clip": (lambda xp, a: xp.clip(a, -0.5, 0.5) * a, [(4, 3)]),
    "clip by arrays": (lambda xp, a, b: xp.clip(a, b, b + 1.0) * a, [(4, 3), (3,)]),
    "logaddexp": (lambda xp, a, b: xp.logaddexp(a, b), [(2, 3), (3,)]),
    "hypot": (lambda xp, a, b: xp.hypot(a, b), [(2, 3), (3,)]),
    "atan2": (lambda xp, a, b: xp.atan2(a, b), [(2, 3), (3,)]),
    "copysign": (lambda xp, a, b: xp.copysign(a, b) * a * b, [(2, 3), (2, 3)]),
    "where": (lambda xp, a, b: xp.where(a > 0, a * b, b * b), [(2, 3), (3,)]),
    "where with numbers": (lambda xp, a: xp.where(a > 0, a * a, 0.0) + xp.where(a < 0.1, 1.0, a**3), [(2, 3)]),
    "sign, floor and round": (lambda xp, a: a * xp.sign(a) + a * xp.floor(a) + a * xp.round(a), [(4,)]),
    "comparisons": (lambda xp, a: a * a * xp.astype((a > 0) & (a < 1), a.dtype), [(4,)]),
    "matmul vector, vector": (lambda xp, a, b: a @ b, [(3,), (3,)]),
    "matmul matrix, vector": (lambda xp, a, b: a @ b, [(2, 3), (3,)]),
    "matmul vector, matrix": (lambda xp, a, b: a @ b, [(3,), (3, 2)]),
    "matmul": (lambda xp, a, b: a @ b, [(2, 3), (3, 4)]),
    "matmul stack, matrix": (lambda xp, a, b: a @ b, [(5, 2, 3), (3, 4)]),
    "matmul matrix, stack": (lambda xp, a, b: a @ b, [(2, 3), (5, 3, 4)]),
    "matmul stacks": (lambda xp, a, b: a @ b, [(5, 1, 2, 3), (4, 3, 2)]),
    "matmul stack, vector": (lambda xp, a, b: a @ b, [(5, 2, 3), (3,)]),
    "matmul vector, stack": (lambda xp, a, b: a @ b, [(3,), (5, 3, 2)]),
    "tensordot": (lambda xp, a, b: xp.tensordot(a, b, axes=1), [(2, 4, 3), (3, 5)]),
    "tensordot axes": (lambda xp, a, b: xp.tensordot(a, b, axes=((0, 2), (1, 0))), [(2, 4, 3), (3, 2, 5)]),
    "vecdot": (lambda xp, a, b: xp.vecdot(a, b), [(2, 3), (2, 3)]),
    "matrix_transpose": (lambda xp, a: a.mT @ a, [(2, 3, 4)]),
    "T": (lambda xp, a: a.T @ a, [(3, 4)]),
    "sum": (lambda xp, a: xp.sum(a * a, axis=1), [(2, 3, 2)]),
    "sum of all": (lambda xp, a: xp.sum(a * a), [(2, 3)]),
    "sum of two axes": (lambda xp, a: xp.sum(a * a, axis=(0, -1), keepdims=True), [(2, 3, 2)]),
    "mean": (lambda xp, a: xp.mean(a * a, axis=0), [(2, 3)]),
    "max": (lambda xp, a: xp.max(a, axis=1) ** 2, [(3, 4)]),
    "min of all": (lambda xp, a: xp.min(a) ** 2, [(3, 4)]),
    "prod": (lambda xp, a: xp.prod(a, axis=1), [(2, 5)]),
    "prod of all": (lambda xp, a: xp.prod(a), [(2, 3)]),
    "var": (lambda xp, a: xp.var(a, axis=1, correction=1.0), [(2, 4)]),
    "std": (lambda xp, a: xp.std(a, axis=0, keepdims=True), [(4, 2)]),
    "cumulative_sum": (lambda xp, a: xp.cumulative_sum(a, axis=1) ** 2, [(2, 4)]),
    "cumulative_prod": (lambda xp, a: xp.cumulative_prod(a, axis=0), [(5, 2)]),
    "diff": (lambda xp, a: (a[1:] - a[:-1]) ** 2, [(5,)]),
    "log-sum-exp": (lambda xp, a: xp.log(xp.sum(xp.exp(a - xp.max(a, axis=1, keepdims=True)), axis=1)), [(3, 4)]),
    "reshape": (lambda xp, a: xp.reshape(a, (3, -1)) ** 2, [(2, 6)]),
    "permute_dims": (lambda xp, a: xp.permute_dims(a, (2, 0, 1)) ** 2, [(2, 3, 4)]),
    "moveaxis": (lambda xp, a: xp.moveaxis(a, 0, -1) ** 2, [(2, 3, 4)]),
    "expand_dims and squeeze": (lambda xp, a: xp.squeeze(xp.expand_dims(a, axis=1) ** 2, axis=(1,)), [(2, 3)]),
    "concat": (lambda xp, a, b: xp.concat([a, b * b, a], axis=1) ** 2, [(2, 3), (2, 1)]),
    "stack": (lambda xp, a, b: xp.stack([a, b, a], axis=1) ** 2, [(2, 3), (2, 3)]),
    "unstack": (lambda xp, a: xp.unstack(a, axis=1)[1] * xp.unstack(a, axis=1)[0], [(2, 3)]),
    "flip": (lambda xp, a: xp.flip(a, axis=1) * a, [(2, 3)]),
    "roll": (lambda xp, a: xp.roll(a, 2, axis=1) * a, [(2, 5)]),
    "tile": (lambda xp, a: xp.tile(a, (2, 3)) ** 2, [(2, 2)]),
    "repeat": (lambda xp, a: xp.repeat(a, 3, axis=1) ** 2, [(2, 2)]),
    "broadcast_to": (lambda xp, a: xp.broadcast_to(a, (4, 2, 3)) ** 2, [(2, 1)]),
    "broadcast_arrays": (lambda xp, a, b: xp.broadcast_arrays(a, b)[0] ** 2 * b, [(2, 1), (3,)]),
    "tril and triu": (lambda xp, a: xp.tril(a, k=-1) @ xp.triu(a), [(3, 3)]),
    "integer index": (lambda xp, a: a[1, ...] * a[-1, ...], [(3, 2)]),
    "slices": (lambda xp, a: a[1:, ::2] * a[:-1, 1::2], [(3, 4)]),
    "negative step": (lambda xp, a: xp.flip(a[:, 1:3], axis=1) * a[:, :2], [(2, 4)]),
    "new axes": (lambda xp, a: a[:, None, :] * a[None, :, :], [(2, 3)]),
    "index and new axis": (lambda xp, a: a[..., 0, None] * a, [(2, 3)]),
    "integer arrays": (
        lambda xp, a: a[index(xp, a, [0, 2, 2]), index(xp, a, [1, 1, -1])] ** 2, [(3, 2)],
    ),
    "take": (lambda xp, a: xp.take(a, index(xp, a, [2, 0, 2, 1]), axis=1) ** 2, [(2, 3)]),
    "take rows": (lambda xp, a: xp.take(a, index(xp, a, [2, 0, 2]), axis=0) ** 2, [(3, 2)]),
    "take_along_axis": (
        lambda xp, a: xp.take_along_axis(a, index(xp, a, [[1, 1], [0, 2]]), axis=1) ** 2, [(2, 3)],
    ),
    "argmax as an index": (
        lambda xp, a: xp.take_along_axis(a, xp.argmax(a, axis=1, keepdims=True), axis=1) ** 2, [(4, 3)],
    ),
    "sort": (lambda xp, a: xp.sort(a, axis=1) * a, [(2, 5)]),
    "astype": (lambda xp, a: xp.astype(a, a.dtype) * a, [(3,)]),
    "ones_like": (lambda xp, a: a * a * xp.ones_like(a) + a * xp.full((3,), 2.0, dtype=a.dtype), [(3,)]),
    "full_like": (lambda xp, a: a * a * xp.full_like(a, 3.0), [(3,)]),
    "solve": (lambda xp, a, b: xp.linalg.solve(matrices(a), b), [(3, 3), (3, 2)]),
    "solve a vector": (lambda xp, a, b: xp.linalg.solve(matrices(a), b), [(3, 3), (3,)]),
    "solve stacks": (lambda xp, a, b: xp.linalg.solve(matrices(a), b), [(3, 3), (4, 3, 2)]),
    "inv": (lambda xp, a: xp.linalg.inv(matrices(a)), [(2, 3, 3)]),
    "det": (lambda xp, a: xp.linalg.det(matrices(a)), [(2, 3, 3)]),
    "slogdet": (lambda xp, a: xp.linalg.slogdet(matrices(a))[1], [(2, 3, 3)]),
    "cholesky": (lambda xp, a: xp.linalg.cholesky(spd(xp, a)), [(2, 3, 3)]),
    "eigvalsh": (lambda xp, a: xp.linalg.eigvalsh(spd(xp, a)), [(3, 3)]),
    "eigh": (lambda xp, a: xp.abs(xp.linalg.eigh(spd(xp, a))[1]), [(3, 3)]),
    "diagonal and trace": (lambda xp, a: xp.linalg.diagonal(a) ** 2 * xp.linalg.trace(a), [(3, 3)]),
    "diagonal with offset": (lambda xp, a: xp.linalg.diagonal(a, offset=1) ** 2, [(3, 4)]),
    "outer": (lambda xp, a, b: xp.linalg.outer(a, b), [(3,), (2,)]),
    "cross": (lambda xp, a, b: xp.linalg.cross(a, b), [(2, 3), (2, 3)]),
    "vector_norm": (lambda xp, a: xp.linalg.vector_norm(a, axis=1), [(2, 3)]),
    "vector_norm, p = 3": (lambda xp, a: xp.linalg.vector_norm(a, ord=3), [(3,)]),
    "matrix_norm": (lambda xp, a: xp.linalg.matrix_norm(a), [(2, 3)]),
    "matrix_power": (lambda xp, a: xp.linalg.matrix_power(a, 5), [(3, 3)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_torch(lib, name):
    function, shapes, *domain = CASES[name]
    rng = np.random.default_rng(7)
    restrict = DOMAINS[domain[0] if domain else 0]
    points = [restrict(rng.normal(size=s)) for s in shapes]
    tangents = [rng.normal(size=s) for s in shapes]

    def f(arrays):
        return function(namespace(*arrays), *arrays)

    def reference(*arrays):
        return function(torch_xp, *arrays)

    theirs = tuple(torch.asarray(p) for p in points)
    their_tangents = tuple(torch.asarray(t) for t in tangents)
    y, dy = torch.func.jvp(reference, theirs, their_tangents)
    weights = rng.normal(size=y.shape)
    _, pull = torch.func.vjp(reference, *theirs)
    pulled = pull(torch.asarray(weights))

    def scalar(*arrays):
        return torch.sum(reference(*arrays) * torch.asarray(weights))

    _, curved = torch.func.jvp(torch.func.grad(scalar, tuple(range(len(theirs)))), theirs, their_tangents)

    ours, our_tangents = [lib.array(p) for p in points], [lib.array(t) for t in tangents]
    w = autodiff.lift(lib.array(weights))
    close(autodiff.jvp(f, ours, our_tangents), (y, dy))
    value, push, pull_ours = autodiff.linearize(f, ours)
    close((value, push(our_tangents)), (y, dy))
    close(pull_ours(lib.array(weights)), pulled)
    product = autodiff.hvp(lambda arrays: namespace(*arrays).sum(f(arrays) * w), ours, our_tangents)
    close(product, curved, tolerance=1e-10)
    for before, after in zip(points, ours, strict=True):
        np.testing.assert_array_equal(before, np.asarray(after))


@pytest.mark.parametrize("part", [0, 1])
def test_cotangents_of_symmetric_matrices_are_symmetric(lib, part):
    a = lib.normal(3, 3)
    symmetric = a + lib.xp.matrix_transpose(a)
    y, pull = autodiff.vjp(lambda x: namespace(x).linalg.eigh(x)[part], symmetric)
    cotangent = np.asarray(pull(lib.normal(*y.shape, seed=5)))
    np.testing.assert_allclose(cotangent, cotangent.T, rtol=1e-12, atol=1e-14)


def close(ours, theirs, tolerance=TOLERANCE):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert tuple(a.shape) == tuple(b.shape)
        np.testing.assert_allclose(np.asarray(a), b.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32(lib32, name):
    function, shapes, *domain = CASES[name]
    rng = np.random.default_rng(7)
    restrict = DOMAINS[domain[0] if domain else 0]
    points = [lib32.array(restrict(rng.normal(size=s))) for s in shapes]

    def f(arrays):
        return function(namespace(*arrays), *arrays)

    y, push, pull = autodiff.linearize(f, points)
    results = [y, push(points), *pull(y), *autodiff.jvp(f, points, points)]
    results += autodiff.hvp(lambda a: namespace(*a).sum(f(a) * f(a)), points, points)
    assert {str(r.dtype).split(".")[-1] for r in results} == {"float32"}
