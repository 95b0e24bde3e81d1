"""Data sets that need no download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...backend import Backend
from .problems import BadInput

Array = Any


@dataclass(frozen=True)
class DataSet:
    """Examples for training and for testing, on one backend.

    Attributes:
        name, source: what it is and where it comes from.
        classes: number of labels.
        train, test: (x (N, d), y (N,)).
    """

    name: str
    source: str
    classes: int
    train: tuple[Array, Array]
    test: tuple[Array, Array]

    @property
    def features(self) -> int:
        """d."""
        return int(self.train[0].shape[1])

    @property
    def sizes(self) -> tuple[int, int]:
        """Examples for training and for testing."""
        return int(self.train[1].shape[0]), int(self.test[1].shape[0])


def load(name: str, backend: Backend, seed: int) -> DataSet:
    """The data set called ``name``, split by ``seed``.

    Raises:
        BadInput: if there is none of that name.
    """
    if name not in LOADERS:
        raise BadInput(f"there is no data set {name!r}; there is: {', '.join(map(repr, LOADERS))}")
    return LOADERS[name](backend, seed)


def digits(backend: Backend, seed: int) -> DataSet:
    """1797 handwritten digits, 8 × 8 pixels scaled to [0, 1]; a fifth of them is kept for testing."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = bunch.data / 16.0, bunch.target.astype(np.int64)
    order = backend.to_numpy(backend.rng(seed).permutation(len(y)))
    held_out, used = np.split(order, [len(y) // 5])

    def rows(examples: Any) -> tuple[Array, Array]:
        return backend.asarray(x[examples]), backend.asarray(y[examples])

    source = "handwritten digits, scikit-learn load_digits (UCI Optical Recognition of Handwritten Digits)"
    return DataSet("digits", source, 10, rows(used), rows(held_out))


LOADERS: dict[str, Callable[[Backend, int], DataSet]] = {"digits": digits}
