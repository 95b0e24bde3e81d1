"""The table of differentiable functions: each case is a smooth function of some arrays, written with a namespace."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device


class Case(NamedTuple):
    """function(xp, *arrays), the shapes of the arrays and where their elements lie."""

    function: Callable[..., Any]
    shapes: list[tuple[int, ...]]
    domain: str = "reals"


DOMAINS = {
    "reals": lambda x: x,
    "unit": lambda x: np.tanh(x) * 0.9,
    "positive": lambda x: np.abs(x) + 0.3,
    "above one": lambda x: np.abs(x) + 1.3,
}


def points(case, seed=7):
    """NumPy arrays at which to differentiate."""
    rng = np.random.default_rng(seed)
    return [np.asarray(DOMAINS[case.domain](rng.normal(size=shape))) for shape in case.shapes]


def dominant(xp, a):
    """A well-conditioned matrix from any square one."""
    return a + 4.0 * xp.eye(a.shape[-1], dtype=a.dtype, device=device(a))


def spd(xp, a):
    return xp.matmul(a, xp.matrix_transpose(a)) + 2.0 * xp.eye(a.shape[-1], dtype=a.dtype, device=device(a))


def graded(xp, a):
    """A matrix with distinct singular values from any one."""
    return a + 3.0 * xp.eye(*a.shape[-2:], dtype=a.dtype, device=device(a)) * xp.arange(
        1.0, a.shape[-1] + 1.0, dtype=a.dtype, device=device(a)
    )


def index(xp, like, values):
    return xp.asarray(values, dtype=xp.int64, device=device(like))


def mask(xp, like, values):
    return xp.asarray(values, dtype=xp.bool, device=device(like))


UNARY = {
    "exp": "reals", "expm1": "reals", "sin": "reals", "cos": "reals", "tan": "reals", "asin": "unit", "acos": "unit",
    "atan": "reals", "sinh": "reals", "cosh": "reals", "tanh": "reals", "asinh": "reals", "acosh": "above one",
    "atanh": "unit", "log": "positive", "log1p": "positive", "log2": "positive", "log10": "positive",
    "sqrt": "positive", "square": "reals", "reciprocal": "positive", "abs": "reals", "negative": "reals",
    "positive": "reals",
}  # fmt: skip
BINARY = {
    "add": "reals", "subtract": "reals", "multiply": "reals", "divide": "positive", "pow": "positive",
    "remainder": "positive", "maximum": "reals", "minimum": "reals", "logaddexp": "reals", "hypot": "reals",
    "atan2": "reals", "copysign": "reals",
}  # fmt: skip
ELEMENTWISE = {name: Case(lambda xp, x, name=name: getattr(xp, name)(x) * x, [(2, 3)], domain) for name, domain in UNARY.items()}
ELEMENTWISE |= {
    f"{name} by name": Case(lambda xp, a, b, name=name: getattr(xp, name)(a, b) * a, [(2, 3), (3,)], domain)
    for name, domain in BINARY.items()
}
CASES = ELEMENTWISE | {
    "add": Case(lambda xp, a, b: a + b, [(2, 3), (3,)]),
    "subtract": Case(lambda xp, a, b: a - b, [(3,), (2, 3)]),
    "multiply": Case(lambda xp, a, b: a * b, [(2, 1), (2, 3)]),
    "multiply by itself": Case(lambda xp, a: a * a * a, [(3,)]),
    "divide": Case(lambda xp, a, b: a / b, [(2, 3), (2, 1)], "positive"),
    "pow": Case(lambda xp, a, b: a**b, [(2, 3), (3,)], "positive"),
    "pow of numbers": Case(lambda xp, a: 2.0**a + a**2 + a**3 + a**0.5 + a**-1 + a**1, [(3,)], "positive"),
    "remainder": Case(lambda xp, a, b: a % b, [(2, 3), (3,)], "positive"),
    "numbers on the left": Case(lambda xp, a: 1.0 - 2.0 * a + 3.0 / a - (-a), [(3,)], "positive"),
    "maximum": Case(lambda xp, a, b: xp.maximum(a, b) * a, [(2, 3), (3,)]),
    "minimum": Case(lambda xp, a, b: xp.minimum(a, b) * a, [(2, 3), (3,)]),
    "relu": Case(lambda xp, a: xp.maximum(a, 0.0) * a, [(4, 3)]),
    "clip": Case(lambda xp, a: xp.clip(a, -0.5, 0.5) * a, [(4, 3)]),
    "clip by arrays": Case(lambda xp, a, b: xp.clip(a, b, b + 1.0) * a, [(4, 3), (3,)]),
    "logaddexp": Case(lambda xp, a, b: xp.logaddexp(a, b), [(2, 3), (3,)]),
    "hypot": Case(lambda xp, a, b: xp.hypot(a, b), [(2, 3), (3,)]),
    "atan2": Case(lambda xp, a, b: xp.atan2(a, b), [(2, 3), (3,)]),
    "copysign": Case(lambda xp, a, b: xp.copysign(a, b) * a * b, [(2, 3), (2, 3)]),
    "where": Case(lambda xp, a, b: xp.where(a > 0, a * b, b * b), [(2, 3), (3,)]),
    "where with numbers": Case(lambda xp, a: xp.where(a > 0, a * a, 0.0) + xp.where(a < 0.1, 1.0, a**3), [(2, 3)]),
    "sign, floor and round": Case(lambda xp, a: a * xp.sign(a) + a * xp.floor(a) + a * xp.round(a), [(4,)]),
    "comparisons": Case(lambda xp, a: a * a * xp.astype((a > 0) & (a < 1), a.dtype), [(4,)]),
    "matmul vector, vector": Case(lambda xp, a, b: a @ b, [(3,), (3,)]),
    "matmul matrix, vector": Case(lambda xp, a, b: a @ b, [(2, 3), (3,)]),
    "matmul vector, matrix": Case(lambda xp, a, b: a @ b, [(3,), (3, 2)]),
    "matmul": Case(lambda xp, a, b: a @ b, [(2, 3), (3, 4)]),
    "matmul stack, matrix": Case(lambda xp, a, b: a @ b, [(5, 2, 3), (3, 4)]),
    "matmul matrix, stack": Case(lambda xp, a, b: a @ b, [(2, 3), (5, 3, 4)]),
    "matmul stacks": Case(lambda xp, a, b: a @ b, [(5, 1, 2, 3), (4, 3, 2)]),
    "matmul stack, vector": Case(lambda xp, a, b: a @ b, [(5, 2, 3), (3,)]),
    "matmul vector, stack": Case(lambda xp, a, b: a @ b, [(3,), (5, 3, 2)]),
    "tensordot": Case(lambda xp, a, b: xp.tensordot(a, b, axes=1), [(2, 4, 3), (3, 5)]),
    "tensordot axes": Case(lambda xp, a, b: xp.tensordot(a, b, axes=((0, 2), (1, 0))), [(2, 4, 3), (3, 2, 5)]),
    "vecdot": Case(lambda xp, a, b: xp.vecdot(a, b), [(2, 3), (2, 3)]),
    "matrix_transpose": Case(lambda xp, a: a.mT @ a, [(2, 3, 4)]),
    "T": Case(lambda xp, a: a.T @ a, [(3, 4)]),
    "sum": Case(lambda xp, a: xp.sum(a * a, axis=1), [(2, 3, 2)]),
    "sum of all": Case(lambda xp, a: xp.sum(a * a), [(2, 3)]),
    "sum of two axes": Case(lambda xp, a: xp.sum(a * a, axis=(0, -1), keepdims=True), [(2, 3, 2)]),
    "mean": Case(lambda xp, a: xp.mean(a * a, axis=0), [(2, 3)]),
    "max": Case(lambda xp, a: xp.max(a, axis=1) ** 2, [(3, 4)]),
    "min of all": Case(lambda xp, a: xp.min(a) ** 2, [(3, 4)]),
    "prod": Case(lambda xp, a: xp.prod(a, axis=1), [(2, 5)]),
    "prod of all": Case(lambda xp, a: xp.prod(a), [(2, 3)]),
    "var": Case(lambda xp, a: xp.var(a, axis=1, correction=1.0), [(2, 4)]),
    "std": Case(lambda xp, a: xp.std(a, axis=0, keepdims=True), [(4, 2)]),
    "cumulative_sum": Case(lambda xp, a: xp.cumulative_sum(a, axis=1) ** 2, [(2, 4)]),
    "cumulative_prod": Case(lambda xp, a: xp.cumulative_prod(a, axis=0), [(5, 2)]),
    "diff": Case(lambda xp, a: (a[1:] - a[:-1]) ** 2, [(5,)]),
    "log-sum-exp": Case(lambda xp, a: xp.log(xp.sum(xp.exp(a - xp.max(a, axis=1, keepdims=True)), axis=1)), [(3, 4)]),
    "reshape": Case(lambda xp, a: xp.reshape(a, (3, -1)) ** 2, [(2, 6)]),
    "permute_dims": Case(lambda xp, a: xp.permute_dims(a, (2, 0, 1)) ** 2, [(2, 3, 4)]),
    "moveaxis": Case(lambda xp, a: xp.moveaxis(a, 0, -1) ** 2, [(2, 3, 4)]),
    "expand_dims and squeeze": Case(lambda xp, a: xp.squeeze(xp.expand_dims(a, axis=1) ** 2, axis=(1,)), [(2, 3)]),
    "concat": Case(lambda xp, a, b: xp.concat([a, b * b, a], axis=1) ** 2, [(2, 3), (2, 1)]),
    "stack": Case(lambda xp, a, b: xp.stack([a, b, a], axis=1) ** 2, [(2, 3), (2, 3)]),
    "unstack": Case(lambda xp, a: xp.unstack(a, axis=1)[1] * xp.unstack(a, axis=1)[0], [(2, 3)]),
    "flip": Case(lambda xp, a: xp.flip(a, axis=1) * a, [(2, 3)]),
    "roll": Case(lambda xp, a: xp.roll(a, 2, axis=1) * a, [(2, 5)]),
    "tile": Case(lambda xp, a: xp.tile(a, (2, 3)) ** 2, [(2, 2)]),
    "repeat": Case(lambda xp, a: xp.repeat(a, 3, axis=1) ** 2, [(2, 2)]),
    "broadcast_to": Case(lambda xp, a: xp.broadcast_to(a, (4, 2, 3)) ** 2, [(2, 1)]),
    "broadcast_arrays": Case(lambda xp, a, b: xp.broadcast_arrays(a, b)[0] ** 2 * b, [(2, 1), (3,)]),
    "tril and triu": Case(lambda xp, a: xp.tril(a, k=-1) @ xp.triu(a), [(3, 3)]),
    "integer index": Case(lambda xp, a: a[1, ...] * a[-1, ...], [(3, 2)]),
    "slices": Case(lambda xp, a: a[1:, ::2] * a[:-1, 1::2], [(3, 4)]),
    "negative step": Case(lambda xp, a: xp.flip(a[:, 1:3], axis=1) * a[:, :2], [(2, 4)]),
    "new axes": Case(lambda xp, a: a[:, None, :] * a[None, :, :], [(2, 3)]),
    "index and new axis": Case(lambda xp, a: a[..., 0, None] * a, [(2, 3)]),
    "integer arrays": Case(
        lambda xp, a: a[index(xp, a, [0, 2, 2]), index(xp, a, [1, 1, -1])] ** 2, [(3, 2)],
    ),
    "take": Case(lambda xp, a: xp.take(a, index(xp, a, [2, 0, 2, 1]), axis=1) ** 2, [(2, 3)]),
    "take rows": Case(lambda xp, a: xp.take(a, index(xp, a, [2, 0, 2]), axis=0) ** 2, [(3, 2)]),
    "take_along_axis": Case(
        lambda xp, a: xp.take_along_axis(a, index(xp, a, [[1, 1], [0, 2]]), axis=1) ** 2, [(2, 3)],
    ),
    "argmax as an index": Case(
        lambda xp, a: xp.take_along_axis(a, xp.argmax(a, axis=1, keepdims=True), axis=1) ** 2, [(4, 3)],
    ),
    "sort": Case(lambda xp, a: xp.sort(a, axis=1) * a, [(2, 5)]),
    "astype": Case(lambda xp, a: xp.astype(a, a.dtype) * a, [(3,)]),
    "ones_like": Case(lambda xp, a: a * a * xp.ones_like(a) + a * xp.full((3,), 2.0, dtype=a.dtype), [(3,)]),
    "full_like": Case(lambda xp, a: a * a * xp.full_like(a, 3.0), [(3,)]),
    "solve": Case(lambda xp, a, b: xp.linalg.solve(dominant(xp, a), b), [(3, 3), (3, 2)]),
    "solve a vector": Case(lambda xp, a, b: xp.linalg.solve(dominant(xp, a), b), [(3, 3), (3,)]),
    "solve stacks": Case(lambda xp, a, b: xp.linalg.solve(dominant(xp, a), b), [(3, 3), (4, 3, 2)]),
    "inv": Case(lambda xp, a: xp.linalg.inv(dominant(xp, a)), [(2, 3, 3)]),
    "det": Case(lambda xp, a: xp.linalg.det(dominant(xp, a)), [(2, 3, 3)]),
    "slogdet": Case(lambda xp, a: xp.linalg.slogdet(dominant(xp, a))[1], [(2, 3, 3)]),
    "cholesky": Case(lambda xp, a: xp.linalg.cholesky(spd(xp, a)), [(2, 3, 3)]),
    "eigvalsh": Case(lambda xp, a: xp.linalg.eigvalsh(spd(xp, a)), [(3, 3)]),
    "eigh": Case(lambda xp, a: xp.abs(xp.linalg.eigh(spd(xp, a))[1]), [(3, 3)]),
    "diagonal and trace": Case(lambda xp, a: xp.linalg.diagonal(a) ** 2 * xp.linalg.trace(a), [(3, 3)]),
    "diagonal with offset": Case(lambda xp, a: xp.linalg.diagonal(a, offset=1) ** 2, [(3, 4)]),
    "outer": Case(lambda xp, a, b: xp.linalg.outer(a, b), [(3,), (2,)]),
    "cross": Case(lambda xp, a, b: xp.linalg.cross(a, b), [(2, 3), (2, 3)]),
    "vector_norm": Case(lambda xp, a: xp.linalg.vector_norm(a, axis=1), [(2, 3)]),
    "vector_norm, p = 3": Case(lambda xp, a: xp.linalg.vector_norm(a, ord=3), [(3,)]),
    "matrix_norm": Case(lambda xp, a: xp.linalg.matrix_norm(a), [(2, 3)]),
    "matrix_power": Case(lambda xp, a: xp.linalg.matrix_power(a, 5), [(3, 3)]),
    "conj": Case(lambda xp, a: xp.conj(a) * a, [(2, 3)]),
    "matrix times powers of numbers": Case(lambda xp, a: a**3 - 2 * a**2 + a**1 + a**0, [(2, 3)]),
    "numbers in functions": Case(
        lambda xp, a: xp.logaddexp(a, 0.0) + xp.hypot(1.0, a) + xp.atan2(a, 2.0) + xp.maximum(0.1, a), [(3,)],
    ),
    "clip from below": Case(lambda xp, a: xp.clip(a, min=-0.2) * a, [(4, 3)]),
    "matrix_transpose by name": Case(lambda xp, a: xp.matrix_transpose(a) @ a, [(3, 2)]),
    "matmul by name": Case(lambda xp, a, b: xp.matmul(a, b), [(2, 3), (3, 2)]),
    "linalg.matmul": Case(lambda xp, a, b: xp.linalg.matmul(a, b) + xp.linalg.matrix_transpose(a) * 0.5, [(3, 3), (3, 3)]),
    "linalg.tensordot": Case(lambda xp, a, b: xp.linalg.tensordot(a, b, axes=2), [(4, 2, 3), (2, 3)]),
    "linalg.vecdot": Case(lambda xp, a, b: xp.linalg.vecdot(a, b, axis=-2), [(2, 3, 2), (3, 2)]),
    "tensordot, outer": Case(lambda xp, a, b: xp.tensordot(a, b, axes=0) ** 2, [(2,), (3,)]),
    "max of several axes": Case(lambda xp, a: xp.max(a, axis=(0, 2), keepdims=True) ** 2, [(2, 3, 2)]),
    "min of an axis": Case(lambda xp, a: xp.min(a, axis=-1) ** 3, [(3, 4)]),
    "mean of several axes": Case(lambda xp, a: xp.mean(a**3, axis=(0, 1)), [(2, 3, 2)]),
    "var of all": Case(lambda xp, a: xp.var(a, keepdims=True), [(2, 3)]),
    "std with correction": Case(lambda xp, a: xp.std(a, axis=1, correction=1), [(2, 4)]),
    "cumulative_sum with initial": Case(lambda xp, a: xp.cumulative_sum(a, axis=0, include_initial=True) ** 3, [(3, 2)]),
    "cumulative_sum of a vector": Case(lambda xp, a: xp.cumulative_sum(a) ** 3, [(4,)]),
    "cumulative_sum from the end": Case(
        lambda xp, a: xp.flip(xp.cumulative_sum(xp.flip(a, axis=1), axis=1), axis=1) ** 3, [(2, 4)],
    ),
    "cumulative_prod with initial": Case(lambda xp, a: xp.cumulative_prod(a, axis=-1, include_initial=True), [(2, 3)]),
    "diff by name": Case(lambda xp, a: xp.diff(a, axis=0, n=2) ** 3, [(5, 2)]),
    "diff with ends": Case(lambda xp, a, b: xp.diff(a, axis=1, prepend=b, append=b) ** 3, [(2, 3), (2, 1)]),
    "repeat counts": Case(lambda xp, a: xp.repeat(a, index(xp, a, [2, 0, 1]), axis=1) ** 3, [(2, 3)]),
    "repeat all": Case(lambda xp, a: xp.repeat(a, 2) ** 3, [(2, 2)]),
    "tile to more axes": Case(lambda xp, a: xp.tile(a, (2, 1, 2)) ** 3, [(2, 2)]),
    "meshgrid": Case(lambda xp, a, b: (lambda g: g[0] * g[1] ** 2)(xp.meshgrid(a, b, indexing="ij")), [(2,), (3,)]),
    "meshgrid, xy": Case(lambda xp, a, b: (lambda g: g[0] * g[1] ** 2)(xp.meshgrid(a, b)), [(2,), (3,)]),
    "flip all": Case(lambda xp, a: xp.flip(a) * a**2, [(2, 3)]),
    "roll all": Case(lambda xp, a: xp.roll(a, 2) * a**2, [(2, 3)]),
    "roll two axes": Case(lambda xp, a: xp.roll(a, (1, -1), axis=(0, 1)) * a**2, [(2, 3)]),
    "concat flat": Case(lambda xp, a, b: xp.concat([a, b], axis=None) ** 3, [(2, 2), (3,)]),
    "triangles": Case(lambda xp, a: xp.tril(a, k=1) ** 3 + xp.triu(a, k=-1) ** 2, [(2, 3, 4)]),
    "linspace between values": Case(lambda xp, a: (a[0] + (a[1] - a[0]) * xp.linspace(0.0, 1.0, 4, dtype=a.dtype)) ** 3, [(2,)]),
    "fftshift": Case(lambda xp, a: xp.fft.fftshift(a) * a**2, [(5, 2)]),
    "ifftshift": Case(lambda xp, a: xp.fft.ifftshift(a, axes=(0,)) * a**2, [(5, 2)]),
    "mask": Case(lambda xp, a: a[mask(xp, a, [True, False, True])] ** 3, [(3, 2)]),
    "mask of values": Case(lambda xp, a: a[a > 0] ** 3, [(3, 4)]),
    "mask of two axes and a new one": Case(lambda xp, a: a[mask(xp, a, [[True, False], [True, True]]), None] ** 3, [(2, 2, 3)]),
    "integer arrays and a new axis": Case(lambda xp, a: a[:, None, index(xp, a, [1, 1, 0])] ** 3, [(2, 3)]),
    "integer arrays apart": Case(
        lambda xp, a: a[index(xp, a, [0, 1]), :, index(xp, a, [[2], [0]])] ** 3, [(2, 3, 3)],
    ),
    "take_along_axis that broadcasts": Case(lambda xp, a: xp.take_along_axis(a, index(xp, a, [[2, 0]]), axis=-1) ** 3, [(2, 3)]),
    "sort descending": Case(lambda xp, a: xp.sort(a, axis=0, descending=True) * a, [(4, 2)]),
    "pinv, tall": Case(lambda xp, a: xp.linalg.pinv(a), [(4, 2)]),
    "pinv, wide": Case(lambda xp, a: xp.linalg.pinv(a), [(2, 2, 3)]),
    "cholesky, upper": Case(lambda xp, a: xp.linalg.cholesky(spd(xp, a), upper=True), [(3, 3)]),
    "eigh of a stack": Case(lambda xp, a: xp.linalg.eigh(spd(xp, a))[1] ** 2, [(2, 3, 3)]),
    "eigh, both": Case(lambda xp, a: (lambda e: e[1] ** 2 * e[0])(xp.linalg.eigh(spd(xp, a))), [(3, 3)]),
    "slogdet, sign": Case(lambda xp, a: (lambda r: r[0] * r[1])(xp.linalg.slogdet(dominant(xp, a))), [(3, 3)]),
    "qr, Q": Case(lambda xp, a: xp.linalg.qr(dominant(xp, a))[0] ** 2, [(3, 3)]),
    "qr, R": Case(lambda xp, a: xp.linalg.qr(dominant(xp, a))[1] ** 2, [(2, 3, 3)]),
    "qr, tall": Case(lambda xp, a: (lambda f: (f[0] @ f[0][0, :]) * xp.sum(f[1] ** 2))(xp.linalg.qr(a)), [(4, 2)]),
    "qr, tall, R": Case(lambda xp, a: xp.linalg.qr(a, mode="reduced")[1] ** 2, [(4, 2)]),
    "qr, wide": Case(lambda xp, a: (lambda f: f[1] ** 2 * f[0][0, 0] ** 2)(xp.linalg.qr(a)), [(2, 4)]),
    "svdvals": Case(lambda xp, a: xp.linalg.svdvals(a) ** 2, [(2, 3, 2)]),
    "svd, square": Case(lambda xp, a: (lambda f: f[0] ** 2 * f[1] + f[2] ** 2)(xp.linalg.svd(graded(xp, a))), [(3, 3)]),
    "svd, tall": Case(
        lambda xp, a: (lambda f: (f[0] ** 2 * f[1]) @ f[2] ** 2)(xp.linalg.svd(graded(xp, a), full_matrices=False)), [(4, 2)],
    ),
    "svd, wide": Case(
        lambda xp, a: (lambda f: f[0] ** 2 @ (f[1][:, None] * f[2] ** 2))(xp.linalg.svd(a, full_matrices=False)), [(2, 4)],
    ),
    "trace with offset": Case(lambda xp, a: xp.linalg.trace(a**3, offset=-1), [(2, 3, 3)]),
    "diagonal below": Case(lambda xp, a: xp.linalg.diagonal(a, offset=-1) ** 3, [(2, 4, 3)]),
    "matrix_power, negative": Case(lambda xp, a: xp.linalg.matrix_power(dominant(xp, a), -2), [(3, 3)]),
    **{
        f"vector_norm, {ord}": Case(lambda xp, a, ord=ord: xp.linalg.vector_norm(a, axis=1, ord=ord) ** 2, [(2, 3)])
        for ord in (1, 2, 3, 1.5, 0.5, -1, -2, math.inf, -math.inf)
    },
    "vector_norm of all": Case(lambda xp, a: xp.linalg.vector_norm(a), [(2, 3)]),
    **{
        f"matrix_norm, {ord}": Case(lambda xp, a, ord=ord: xp.linalg.matrix_norm(a, ord=ord, keepdims=True) ** 2, [(2, 3, 4)])
        for ord in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)
    },
}  # fmt: skip
