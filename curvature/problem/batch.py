"""Batches of data, and the checks that they must pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import array_api_compat
import numpy as np

from ..backend import Backend
from ..errors import DataError, MixedBackendError
from ..trees import count, leaves, tree_map
from .moving import moved

Array = Any


@dataclass(frozen=True, eq=False)
class Batch:
    """Some examples.

    Attributes:
        x: inputs, an array or a tree of arrays with examples on the first axis, or None.
        y: targets, examples on the first axis.
        weights: (N,) weight of each example (0 masks it), or None for 1 each.
        index: position among the batches.
        checked: a likelihood and the targets in the form that it takes, by its id.
        sums: the sum of the weights, once it is known.
    """

    x: Any
    y: Array
    weights: Array | None = None
    index: int = 0
    checked: dict[int, tuple[Any, Array]] = field(default_factory=dict, init=False, repr=False)
    sums: list[float] = field(default_factory=list, init=False, repr=False)

    @property
    def size(self) -> int:
        """N, the number of examples."""
        return int(self.y.shape[0])

    @property
    def form(self) -> tuple[Any, ...]:
        """What the shape of an output depends on: shapes of one example's inputs and their dtypes."""
        return (self.x is None, *((tuple(int(n) for n in a.shape[1:]), str(a.dtype)) for a in leaves(self.x)))

    def part(self, examples: slice) -> Batch:
        """Some of the examples, one after the other, with their weights."""
        x = None if self.x is None else tree_map(lambda a: a[examples, ...], self.x)
        weights = None if self.weights is None else self.weights[examples]
        return Batch(x, self.y[examples, ...], weights, self.index)

    def taken(self, xp: Any, rows: Array) -> Batch:
        """The examples at some positions, in that order, without weights."""
        x = None if self.x is None else tree_map(lambda a: xp.take(a, rows, axis=0), self.x)
        return Batch(x, xp.take(self.y, rows, axis=0), None, self.index)


def as_batch(data: Any, index: int, backend: Backend, dtype: Any, device: Any = None) -> Batch:
    """A checked batch from ``(x, y)``, ``(x, y, weights)`` or a ``Batch``.

    Raises:
        DataError: empty, of the wrong shape or dtype, NaN or infinite (naming the example).
        MixedBackendError: arrays of another library or device than the parameters'.
    """
    if isinstance(data, Batch):
        batch = Batch(data.x, data.y, data.weights, index)
    elif isinstance(data, (tuple, list)) and len(data) in (2, 3):
        batch = Batch(*data, **({"index": index} if len(data) == 3 else {"weights": None, "index": index}))
    else:
        found = f"a {type(data).__name__}" + (f" of length {len(data)}" if hasattr(data, "__len__") else "")
        raise DataError(f"batch {index}: a batch is (x, y) or (x, y, weights), got {found}")
    if isinstance(batch.y, (tuple, list)):
        raise DataError(
            f"batch {index}: y is a {type(batch.y).__name__}. A tuple is one batch (x, y); several batches come in a list"
        )
    arrays = [("y", batch.y)] + [("x", leaf) for leaf in leaves(batch.x)]
    if batch.weights is not None:
        arrays.append(("weights", batch.weights))
    for name, array in arrays:
        _check_owned(name, array, index, backend)
        _check_device(name, array, index, backend, device)
    if batch.y.ndim == 0:
        raise DataError(f"batch {index}: y has no axis of examples; pass shape (N,) or (N, …)")
    n = batch.size
    if n == 0:
        raise DataError(f"batch {index} is empty: y has shape {tuple(batch.y.shape)}")
    for name, array in arrays:
        if array.ndim == 0 or array.shape[0] != n:
            raise DataError(f"batch {index}: {name} has shape {tuple(array.shape)}, y has {n} examples")
        _check_dtype(name, array, index, backend, dtype)
        check_finite(name, array, index, backend)
    if batch.weights is not None:
        _check_weights(batch.weights, n, index, backend)
    return batch


def _check_owned(name: str, array: Any, index: int, backend: Backend) -> None:
    if not backend.owns(array):
        kind = type(array)
        raise MixedBackendError(
            f"batch {index}: {name} is a {kind.__module__}.{kind.__qualname__}, the parameters live on {backend.name!r}; "
            f"convert it: backend.asarray({name})"
        )


def _check_device(name: str, array: Any, index: int, backend: Backend, device: Any) -> None:
    found = None if device is None or backend.is_abstract(array) else array_api_compat.device(array)
    if found is not None and found != device:
        raise MixedBackendError(
            f"batch {index}: {name} is on device {found}, the parameters are on {device}; bring them together: "
            f"be = curvature.backend({backend.name!r}, device={str(device)!r}), then be.asarray({name})"
        )


def _check_dtype(name: str, array: Array, index: int, backend: Backend, dtype: Any) -> None:
    xp = backend.xp
    if not xp.isdtype(array.dtype, ("real floating", "integral", "bool")):
        raise DataError(f"batch {index}: {name} has dtype {array.dtype}; pass real numbers")
    if name != "y" and xp.isdtype(array.dtype, "real floating") and array.dtype != dtype:
        raise DataError(
            f"batch {index}: {name} has dtype {array.dtype}, the parameters have {dtype}; convert one of them, for example "
            f"xp.astype({name}, params_dtype)"
        )


def check_finite(name: str, array: Array, index: int, backend: Backend) -> None:
    """Refuse NaN and infinities, naming the first example that has one."""
    xp = backend.xp
    if not xp.isdtype(array.dtype, "real floating") or count(array) == 0 or backend.is_abstract(array):
        return
    if not is_finite(backend, array):
        bad = ~xp.isfinite(array)
        flags = xp.any(xp.reshape(bad, (array.shape[0], -1)), axis=1)
        example = int(xp.argmax(xp.astype(flags, xp.int64)))
        offenders = int(xp.sum(xp.astype(flags, xp.int64)))
        raise DataError(f"batch {index}: {name} of example {example} is NaN or infinite ({offenders} such examples)")


SMALL = 2**16
"""Numbers up to which an array is looked at on the host."""


def seen_on_host(backend: Backend, array: Array) -> bool:
    """Whether to look at an array on the host: a small copy costs no more than a question to an accelerator does, and nothing is
    compiled for its shape. Not what NumPy cannot hold (bfloat16), and not what lies on other hosts, too.
    """
    xp = backend.xp
    known = any(array.dtype == getattr(xp, name) for name in ("float64", "float32", "int64", "int32", "bool"))
    return known and count(array) <= SMALL and bool(getattr(array, "is_fully_addressable", True))


def is_finite(backend: Backend, array: Array) -> bool:
    """Whether no number is NaN or infinite."""
    if seen_on_host(backend, array):
        return bool(np.all(np.isfinite(backend.to_numpy(array))))
    xp = backend.xp
    # The sum is finite if all are (overflow apart): one cheap pass for good data.
    return bool(xp.isfinite(xp.sum(array))) or bool(xp.all(xp.isfinite(array)))


def _check_weights(weights: Array, n: int, index: int, backend: Backend) -> None:
    xp = backend.xp
    if tuple(weights.shape) != (n,):
        raise DataError(f"batch {index}: weights have shape {tuple(weights.shape)}, expected ({n},)")
    if not xp.isdtype(weights.dtype, "real floating"):
        raise DataError(f"batch {index}: weights have dtype {weights.dtype}; pass floating weights (0.0 masks an example)")
    if not backend.is_abstract(weights) and bool(xp.any(weights < 0)):
        example = int(xp.argmax(xp.astype(weights < 0, xp.int64)))
        raise DataError(f"batch {index}: the weight of example {example} is negative ({float(weights[example])})")


class Data:
    """One batch, or a re-iterable of batches: an object whose ``iter()`` starts afresh each time.

    A tuple or a ``Batch`` is one batch; anything else that can be iterated over is many.
    """

    def __init__(self, source: Any, backend: Backend, dtype: Any, device: Any = None) -> None:
        self.backend = backend
        self.dtype = dtype
        self.device = device
        self.single: Batch | None = None
        self.source: Iterable[Any] | None = None
        if isinstance(source, (tuple, Batch)):
            self.single = as_batch(source, 0, backend, dtype, device)
            weights = self.single.weights
            if weights is not None and not backend.is_abstract(weights) and not bool(backend.xp.any(weights > 0)):
                raise DataError("the weights of all examples are zero")
        elif isinstance(source, Iterator):
            raise DataError(
                "the data is a one-shot iterator, and curvature needs several passes; pass a list of batches or an object "
                "whose __iter__ starts afresh (a DataLoader does)"
            )
        elif isinstance(source, Iterable):
            self.source = source
        else:
            raise DataError(f"data is a batch (x, y) or an iterable of batches, got a {type(source).__name__}")

    def to(self, backend: Backend, dtype: str | None) -> Batch | _Moved:
        """The same data on another backend."""
        many = _Moved(self, backend, dtype)
        return many if self.single is None else many.moved(self.single)

    def __iter__(self) -> Iterator[Batch]:
        if self.single is not None:
            yield self.single
            return
        assert self.source is not None
        empty = True
        for index, item in enumerate(self.source):
            empty = False
            yield as_batch(item, index, self.backend, self.dtype, self.device)
        if empty:
            raise DataError("the data holds no batches")


class _Moved:
    """Batches that are moved to another backend one at a time."""

    def __init__(self, data: Data, backend: Backend, dtype: str | None) -> None:
        self._data = data
        self._backend = backend
        self._dtype = dtype

    def moved(self, batch: Batch) -> Batch:
        """The batch on the other backend."""

        def move(array: Array) -> Array:
            return moved(array, self._data.backend, self._backend, self._dtype)

        weights = None if batch.weights is None else move(batch.weights)
        return Batch(None if batch.x is None else tree_map(move, batch.x), move(batch.y), weights, batch.index)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.moved, self._data)
