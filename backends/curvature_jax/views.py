"""Movements of entries: transposed, reshaped, sliced, broadcast, gathered; on arrays of places, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Places = np.ndarray[Any, Any]
Move = Callable[[Places], Sequence[Places]]
Run = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True)
class Factor:
    """Numbers by which the entries of a view are multiplied: a value of the program, moved as the view was since then."""

    value: int
    runs: tuple[tuple[Run, int], ...] = ()

    def __call__(self, array: Any) -> Any:
        """The factor from the value."""
        for run, output in self.runs:
            array = run([array])[output]
        return array


@dataclass(frozen=True)
class View:
    """What a value shows of a parameter: for each of its entries the place in the parameter, in row-major order.

    Attributes:
        parameter: number of the parameter.
        origin: the parameter's shape.
        shape: of the value.
        moves: what was done to it, each with the position of the output that is meant.
        factor: what the entries are multiplied by, if by anything.
    """

    parameter: int
    origin: tuple[int, ...]
    shape: tuple[int, ...]
    moves: tuple[tuple[Move, int], ...] = ()
    factor: Factor | None = None

    def moved(self, move: Move, output: int, shape: tuple[int, ...], run: Run | None = None) -> View:
        """After one more movement, which is ``run`` on arrays."""
        factor = self.factor
        if factor is not None and run is not None:
            factor = Factor(factor.value, (*factor.runs, (run, output)))
        return View(self.parameter, self.origin, shape, (*self.moves, (move, output)), factor)

    @cached_property
    def places(self) -> Places:
        """The places; axes along which nothing changes have stride 0 or length 1."""
        size = int(np.prod(self.origin, dtype=np.int64))
        kind = np.int32 if size < 2**31 else np.int64
        return followed(np.arange(size, dtype=kind).reshape(self.origin), self.moves)

    @cached_property
    def varying(self) -> tuple[int, ...]:
        """Axes along which the place changes."""
        if not self.moves:
            return tuple(axis for axis, length in enumerate(self.shape) if length > 1)
        return varying_axes(self.places)

    def ordered(self, axes: Sequence[int]) -> Places | None:
        """Places with the given axes in this order, flat and along the others at 0; None if they are 0, 1, 2, … of all."""
        if not self.moves:
            proper = [axis for axis in axes if self.shape[axis] > 1]
            if proper == list(self.varying):
                return None
        rest = [axis for axis in range(len(self.shape)) if axis not in axes]
        places = self.places.transpose([*rest, *axes])[(0,) * len(rest)].reshape(-1)
        size = int(np.prod(self.origin, dtype=np.int64))
        return None if len(places) == size and bool((places == np.arange(size)).all()) else places


def varying_axes(places: Places) -> tuple[int, ...]:
    """Axes along which an array of places changes, by its strides."""
    return tuple(a for a, (length, stride) in enumerate(zip(places.shape, places.strides, strict=True)) if length > 1 and stride)


def followed(places: Places, moves: Sequence[tuple[Move, int]]) -> Places:
    """Places after movements."""
    for move, output in moves:
        places = move(places)[output]
    return places


def movement(name: str, params: Mapping[str, Any]) -> Move | None:
    """What a primitive of one array does to places, or None if it does more than move entries."""
    make = _MOVEMENTS.get(name)
    return None if make is None else make(params)


def _broadcast(params: Mapping[str, Any]) -> Move:
    shape, axes = tuple(params["shape"]), tuple(params["broadcast_dimensions"])

    def broadcast(places: Places) -> list[Places]:
        lengths = [1] * len(shape)
        for axis, length in zip(axes, places.shape, strict=True):
            lengths[axis] = length
        return [np.broadcast_to(places.reshape(lengths), shape)]

    return broadcast


def _slice(params: Mapping[str, Any]) -> Move:
    starts, stops = params["start_indices"], params["limit_indices"]
    strides = params["strides"] or (1,) * len(starts)
    index = tuple(slice(*bounds) for bounds in zip(starts, stops, strides, strict=True))
    return lambda places: [places[index]]


def _split(params: Mapping[str, Any]) -> Move:
    bounds, axis = np.cumsum(params["sizes"])[:-1], params["axis"]
    return lambda places: np.split(places, bounds, axis=axis)


def _tile(params: Mapping[str, Any]) -> Move:
    counts = tuple(params["reps"])

    def tile(places: Places) -> list[Places]:
        if any(count > 1 and length > 1 for count, length in zip(counts, places.shape, strict=True)):
            return [np.tile(places, counts)]
        return [np.broadcast_to(places, tuple(n * k for n, k in zip(places.shape, counts, strict=True)))]

    return tile


def _same(params: Mapping[str, Any]) -> Move:
    return lambda places: [places]


_MOVEMENTS: Mapping[str, Callable[[Mapping[str, Any]], Move]] = {
    "transpose": lambda params: lambda places: [places.transpose(params["permutation"])],
    "reshape": lambda params: lambda places: [places.reshape(params["new_sizes"])],
    "squeeze": lambda params: lambda places: [places.squeeze(tuple(params["dimensions"]))],
    "rev": lambda params: lambda places: [np.flip(places, tuple(params["dimensions"]))],
    "broadcast_in_dim": _broadcast,
    "slice": _slice,
    "split": _split,
    "tile": _tile,
    "copy": _same,
    "copy_p": _same,
    "name": _same,
    "sharding_constraint": _same,
}
