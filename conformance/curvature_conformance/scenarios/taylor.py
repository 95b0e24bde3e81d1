"""Second-order Taylor arithmetic in plain NumPy: exact Jacobians and second derivatives of functions of P numbers.

References for models that nobody differentiates by hand. Values carry their first and second derivatives along; products
follow Leibniz' rule, functions of a number Faà di Bruno's. Nothing is truncated or differenced, so the derivatives are
exact to rounding. It costs P² numbers for each value: for small models only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..setting import leaves


@dataclass(frozen=True, eq=False)
class Taylor:
    """An array of numbers with derivatives in P variables.

    Attributes:
        value: (…).
        first: (…, P).
        second: (…, P, P), symmetric in the last two axes.
    """

    value: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.value.shape

    def _map(self, function: Callable[[np.ndarray], np.ndarray]) -> Taylor:
        """A function that moves or adds up entries along leading axes."""
        return Taylor(function(self.value), function(self.first), function(self.second))

    def __getitem__(self, key: Any) -> Taylor:
        return self._map(lambda a: a[key])

    def sum(self, axis: int) -> Taylor:
        """Σ along an axis, counted from the front."""
        return self._map(lambda a: a.sum(axis=axis))

    def reshape(self, *shape: int) -> Taylor:
        """The same numbers in another shape."""
        p = self.first.shape[-1]
        return Taylor(self.value.reshape(shape), self.first.reshape(*shape, p), self.second.reshape(*shape, p, p))

    def __add__(self, other: Taylor | np.ndarray | float) -> Taylor:
        if not isinstance(other, Taylor):
            return Taylor(self.value + other, self.first, self.second)
        return Taylor(self.value + other.value, self.first + other.first, self.second + other.second)

    def __sub__(self, other: Taylor) -> Taylor:
        return self + other * -1.0

    def __mul__(self, factor: float) -> Taylor:
        return self._map(lambda a: factor * a)

    def apply(self, value: np.ndarray, slope: np.ndarray, bend: np.ndarray) -> Taylor:
        """φ of each number, from φ, φ' and φ'' at the values: φ' x' and φ' x'' + φ'' x' x'ᵀ."""
        outer = self.first[..., :, None] * self.first[..., None, :]
        second = slope[..., None, None] * self.second + bend[..., None, None] * outer
        return Taylor(value, slope[..., None] * self.first, second)


def variables(vector: np.ndarray) -> Taylor:
    """The variables themselves, at a point (P,)."""
    p = vector.size
    return Taylor(vector, np.eye(p), np.zeros((p, p, p)))


def contract(spec: str, a: Taylor | np.ndarray, b: Taylor | np.ndarray) -> Taylor:
    """``np.einsum`` of two factors, at least one of them with derivatives; capital letters are not for the caller."""
    left, _, rest = spec.partition(",")
    right, _, out = rest.partition("->")
    av, bv = (x.value if isinstance(x, Taylor) else x for x in (a, b))
    first: Any = 0.0
    second: Any = 0.0
    if isinstance(a, Taylor):
        first = first + np.einsum(f"{left}Y,{right}->{out}Y", a.first, bv)
        second = second + np.einsum(f"{left}YZ,{right}->{out}YZ", a.second, bv)
    if isinstance(b, Taylor):
        first = first + np.einsum(f"{left},{right}Y->{out}Y", av, b.first)
        second = second + np.einsum(f"{left},{right}YZ->{out}YZ", av, b.second)
    if isinstance(a, Taylor) and isinstance(b, Taylor):
        cross = np.einsum(f"{left}Y,{right}Z->{out}YZ", a.first, b.first)
        second = second + cross + np.swapaxes(cross, -1, -2)
    return Taylor(np.einsum(spec, av, bv), first, second)


def stack(parts: list[Taylor]) -> Taylor:
    """Arrays joined along a new first axis."""
    return Taylor(*(np.stack([getattr(part, name) for part in parts]) for name in ("value", "first", "second")))


def tanh(x: Taylor) -> Taylor:
    """The hyperbolic tangent."""
    y = np.tanh(x.value)
    return x.apply(y, 1 - y**2, -2 * y * (1 - y**2))


def exp(x: Taylor) -> Taylor:
    """The exponential."""
    y = np.exp(x.value)
    return x.apply(y, y, y)


def power(x: Taylor, p: float) -> Taylor:
    """x to a constant power."""
    return x.apply(x.value**p, p * x.value ** (p - 1), p * (p - 1) * x.value ** (p - 2))


def parameters(tree: Any) -> Any:
    """The leaves of a tree of arrays as Taylor arrays in all of its numbers, in flat order (dictionaries by sorted key)."""
    flat = variables(np.concatenate([np.ravel(leaf) for leaf in leaves(tree)]))
    start = 0

    def expand(part: Any) -> Any:
        nonlocal start
        if isinstance(part, dict):
            return {key: expand(part[key]) for key in sorted(part)}
        if isinstance(part, (list, tuple)):
            return [expand(entry) for entry in part]
        found = flat[start : start + part.size].reshape(*part.shape)
        start += part.size
        return found

    return expand(tree)


def derivatives(forward: Callable[[Any, np.ndarray], Taylor], params: Any, x: np.ndarray) -> Taylor:
    """Outputs (N, C) of a function of one example, with Jacobians (N, C, P) and second derivatives (N, C, P, P)."""
    expanded = parameters(params)
    return stack([forward(expanded, example) for example in x])
