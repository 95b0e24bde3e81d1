"""Arrays of a model brought into the order that the core takes: examples first, features last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

Array = Any


@dataclass(frozen=True)
class Layout:
    """An array (…) as (N, *positions, features).

    Attributes:
        shape: of the array.
        example_axis: where examples lie; if it is k times as long as there are examples, k positions of each lie together.
        examples: N.
        between: the axes that stay positions, in this order.
        features: the axes that become one, the last, in this order; None: there is no last axis.
    """

    shape: tuple[int, ...]
    example_axis: int
    examples: int
    between: tuple[int, ...]
    features: tuple[int, ...] | None

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Lengths of the axes that become one."""
        return tuple(self.shape[axis] for axis in self.features or ())

    @property
    def positions(self) -> tuple[int, ...]:
        """Lengths of the axes between, the examples' own positions first."""
        shared = self.shape[self.example_axis] // self.examples
        others = tuple(self.shape[axis] for axis in self.between)
        return others if shared == 1 else (shared, *others)

    def __call__(self, x: Array) -> Array:
        last = () if self.features is None else (math.prod(self.feature_shape),)
        order = (self.example_axis, *self.between, *(self.features or ()))
        return jnp.reshape(jnp.transpose(x, order), (self.examples, *self.positions, *last))

    def numbers(self) -> np.ndarray[Any, Any]:
        """For each entry of an array of this shape its place among the features; axes that do not count have stride 0."""
        places = np.arange(math.prod(self.feature_shape)).reshape(self.feature_shape)
        features: Sequence[int] = self.features or ()
        places = places.transpose(np.argsort(features))
        lengths = [self.shape[axis] if axis in features else 1 for axis in range(len(self.shape))]
        return np.broadcast_to(places.reshape(lengths), self.shape)
