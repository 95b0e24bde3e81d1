"""Problems with layers of every kind, and what their blocks are by the dense matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature import nn

TOKENS = np.array([[0, 1, 1], [2, 2, 2], [3, 0, 4], [1, 4, 4], [0, 0, 3]])


def mlp(p, x):
    xp = cv.namespace(x)
    return xp.tanh(x @ xp.matrix_transpose(p["a"]["w"]) + p["a"]["b"]) @ p["z"]["w"] + p["z"]["b"]


def pooled(p, x):
    """Shared positions."""
    return cv.namespace(x).sum(mlp(p, x), axis=1)


def tied(p, x):
    """One weight twice, the second time transposed: it is no single layer."""
    xp = cv.namespace(x)
    return xp.tanh(x @ p["w"]) @ xp.matrix_transpose(p["w"]) + p["b"]


def repeated(p, x):
    """One layer three times."""
    xp = cv.namespace(x)
    for _ in range(3):
        x = xp.tanh(x @ xp.matrix_transpose(p["w"]) + p["b"])
    return x


def convolution(p, x):
    xp = cv.namespace(x)
    hidden = xp.tanh(nn.conv2d(x, p["k"], p["c"], groups=x.shape[1] // p["k"].shape[1]))
    return xp.reshape(hidden, (x.shape[0], -1)) @ p["w"]


def embedding(p, x):
    xp = cv.namespace(x)
    rows = xp.reshape(xp.take(p["table"], xp.reshape(x, (-1,)), axis=0), (*x.shape, p["table"].shape[1]))
    return xp.sum(xp.tanh(rows @ p["w"]), axis=1)


def scale_and_shift(p, x):
    xp = cv.namespace(x)
    return xp.sum(xp.tanh(x * p["scale"] + p["shift"]) @ p["w"] + p["b"], axis=1)


def general(p, x):
    return cv.namespace(x).tanh(x @ p["w"] ** 3) @ p["v"]


def columns(rows, n, first=0):
    return np.tile(first + np.arange(n), (rows, 1))


def rows(n, columns, first=0):
    return columns_of(np.arange(first, first + n), columns)


def columns_of(labels, count):
    return np.tile(np.asarray(labels)[:, None], (1, count))


TWO_LAYERS = {"a.w": rows(3, 4), "a.b": np.arange(3), "z.w": columns(3, 2, 10), "z.b": 10 + np.arange(2)}
# model, shapes of the parameters, shape of the inputs, and which output unit each entry belongs to, by hand.
CASES: dict[str, Any] = {
    "mlp": (mlp, {"a": {"w": (3, 4), "b": (3,)}, "z": {"w": (3, 2), "b": (2,)}}, (6, 4), TWO_LAYERS),
    "pooled": (pooled, {"a": {"w": (3, 4), "b": (3,)}, "z": {"w": (3, 2), "b": (2,)}}, (5, 3, 4), TWO_LAYERS),
    "tied": (tied, {"w": (3, 4), "b": (3,)}, (6, 3), {"w": np.zeros((3, 4)), "b": 1 + np.arange(3)}),
    "repeated": (repeated, {"w": (3, 3), "b": (3,)}, (6, 3), {"w": rows(3, 3), "b": np.arange(3)}),
    "convolution": (
        convolution,
        {"k": (3, 2, 2, 2), "c": (3,), "w": (12, 2)},
        (4, 2, 3, 3),
        {"k": rows(3, 8), "c": np.arange(3), "w": columns(12, 2, 10)},
    ),
    "groups": (
        convolution,
        {"k": (4, 1, 2, 2), "c": (4,), "w": (16, 2)},
        (4, 2, 3, 3),
        {"k": rows(4, 4), "c": np.arange(4), "w": columns(16, 2, 10)},
    ),
    "embedding": (embedding, {"table": (5, 3), "w": (3, 2)}, None, {"table": columns(5, 3), "w": columns(3, 2, 10)}),
    "scale and shift": (
        scale_and_shift,
        {"scale": (3,), "shift": (3,), "w": (3, 2), "b": (2,)},
        (5, 4, 3),
        {"scale": np.arange(3), "shift": np.arange(3), "w": columns(3, 2, 10), "b": 10 + np.arange(2)},
    ),
    "general": (general, {"w": (3, 2), "v": (2, 2)}, (4, 3), {"w": np.zeros((3, 2)), "v": columns(2, 2, 10)}),
}


class Tasks:
    """Problems by the name of a case, and the labels of their partitions."""

    names = tuple(CASES)

    def __init__(self, generator):
        self._generator = generator

    def __call__(self, be, case, *, weights=False, batches=None):
        apply, shapes, x_shape, _ = CASES[case]
        rng = self._generator
        params = _tree_of(shapes, lambda shape: be.asarray(0.7 * rng.standard_normal(shape)))
        x = TOKENS if x_shape is None else rng.standard_normal(x_shape)
        n, outputs = x.shape[0], int(apply(params, be.asarray(x)).shape[1])
        arrays = [x, np.arange(n) % outputs, *([rng.uniform(0, 2, n)] if weights else [])]
        data = [tuple(be.asarray(a[part]) for a in arrays) for part in batches or [slice(None)]]
        return cv.Problem(cv.Model(apply, params, backend=be), cv.Categorical(), data[0] if batches is None else data)

    @staticmethod
    def layers(problem):
        """Labels (P,): the number of the layer."""
        owner = {name: i for i, layer in enumerate(problem.structure.layers) for name in layer.parameters}
        return _flat(problem.space, owner)

    @staticmethod
    def parameters(problem):
        """Labels (P,): the number of the parameter."""
        return _flat(problem.space, {name: i for i, name in enumerate(problem.space.names)})

    @staticmethod
    def units(problem, case):
        """Labels (P,): the output unit."""
        return _flat(problem.space, CASES[case][3])

    @staticmethod
    def dense(operator):
        """The dense matrix on the host."""
        return np.array(operator.backend.to_numpy(operator.to_dense()))

    @staticmethod
    def projection(dense, labels):
        """What a matrix has in the blocks of entries with equal labels: the nearest such block-diagonal matrix."""
        return np.where(labels[:, None] == labels[None, :], dense, 0.0)


def _tree_of(shapes, make):
    return {name: _tree_of(part, make) if isinstance(part, dict) else make(part) for name, part in shapes.items()}


def _flat(space, by_name):
    sizes = zip(space.names, space.shapes, strict=True)
    return np.concatenate([np.ravel(np.broadcast_to(np.reshape(by_name[n], _fitting(by_name[n], s)), s)) for n, s in sizes])


def _fitting(labels, shape):
    return shape if np.size(labels) > 1 else ()


@pytest.fixture
def tasks(generator):
    return Tasks(generator)
