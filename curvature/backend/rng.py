"""Random numbers that one seed makes the same on every backend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .base import Backend

Array = Any


class Rng:
    """A counter-based generator (Philox) on the host whose draws are moved to the backend.

    Draws are made in float64 and then rounded, so float32 draws are those of float64 to rounding. Draw outside of
    anything that is traced and pass the values in.
    """

    def __init__(self, backend: Backend, seed: int | np.random.SeedSequence) -> None:
        self._backend = backend
        self._sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(int(seed))
        self._generator = np.random.Generator(np.random.Philox(self._sequence))

    def split(self, n: int) -> list[Rng]:
        """``n`` independent generators; calling again gives further ones."""
        return [Rng(self._backend, child) for child in self._sequence.spawn(n)]

    def _array(self, values: Any, dtype: Any) -> Array:
        return self._backend.asarray(np.ascontiguousarray(values), dtype=dtype)

    def uniform(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """Uniform on [0, 1)."""
        return self._array(self._generator.random(shape), dtype)

    def normal(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """Standard normal."""
        return self._array(self._generator.standard_normal(shape), dtype)

    def rademacher(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """±1 with equal probability: the bits of random bytes, highest first, 1 for 1 and -1 for 0."""
        count = math.prod(shape)
        bits = np.unpackbits(np.frombuffer(self._generator.bytes(-(-count // 8)), dtype=np.uint8), count=count)
        signs = np.where(bits.reshape(shape), np.int8(1), np.int8(-1))
        return self._array(signs if dtype is not None else signs.astype(np.float64), dtype)

    def integers(self, high: int, shape: tuple[int, ...]) -> Array:
        """Uniform on {0, …, high - 1}, int64."""
        return self._array(self._generator.integers(0, high, shape, dtype=np.int64), None)

    def permutation(self, n: int) -> Array:
        """A permutation of 0 … n - 1, int64."""
        return self._array(self._generator.permutation(n).astype(np.int64), None)

    def poisson(self, rate: Array, dtype: Any = None) -> Array:
        """Poisson counts with the given rates. (Rates cross to the host.)"""
        return self._array(self._generator.poisson(self._backend.to_numpy(rate)).astype(np.float64), dtype)
