"""What linear algebra without a matrix needs to know of it: its products."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import DataError, NotSymmetricError, ShapeError, UnsupportedError
from ..trees import count
from .progress import Meter

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any

COLUMNS = 64
"""Largest number of columns of one product."""

BLOCK_ENTRIES = 2**26
"""Largest number of entries of one product (half a gigabyte in float64): fewer columns where they are long."""


class LinearMap(Protocol):
    """A real linear map of shape (m, n), known by its products. Every ``curvature.operators.Operator`` is one.

    What needs more asks for it: ``symmetric`` (taken to be true of a map that does not say), and ``T`` for the products
    with the transpose of a map that is not symmetric.
    """

    @property
    def backend(self) -> Backend:
        """Where its arrays live."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""

    @property
    def dtype(self) -> Any:
        """Floating dtype of its products."""

    def _matmat(self, v: Array) -> Array:
        """Product with a matrix (n, K)."""


class Counted:
    """A map that counts its products (columns), in blocks that fit the memory, and refuses what is not finite.

    Products come divided by ``unit``, a power of 2 that is 1 unless the first of them is so large or small that squares of
    its entries might overflow or vanish.

    Attributes:
        products: columns that the map and its transpose were applied to.
        unit: what the products are divided by.
        goal: the number of products that are planned now, for the meter.
        text: what is being done, for the meter.
    """

    def __init__(self, map: LinearMap, meter: Meter | None = None, text: str = "products") -> None:
        prepared = getattr(map, "for_repeated_products", None)
        self._map = map if prepared is None else prepared()
        self._meter = meter
        self.backend = map.backend
        self.shape = (int(map.shape[0]), int(map.shape[1]))
        self.dtype = map.dtype
        self.products = 0
        self.unit = 1.0
        self._measured = False
        self.goal = 0
        self.text = text

    @property
    def symmetric(self) -> bool:
        """Whether the map says that it is symmetric, or says nothing."""
        return self.shape[0] == self.shape[1] and bool(getattr(self._map, "symmetric", True))

    @property
    def columns(self) -> int:
        """How many columns it is applied to at once."""
        return max(1, min(COLUMNS, BLOCK_ENTRIES // max(1, *self.shape)))

    def _matmat(self, v: Array) -> Array:
        return self._in_blocks(self._map, v)

    def transposed(self, v: Array) -> Array:
        """Aᵀ v.

        Raises:
            UnsupportedError: the map is not symmetric and has no ``T``.
        """
        if self.symmetric:
            return self._matmat(v)
        transpose = getattr(self._map, "T", None)
        if transpose is None:
            raise UnsupportedError(f"{self.text} needs products with the transpose; give the map a T")
        return self._in_blocks(transpose, v)

    def _in_blocks(self, map: LinearMap, v: Array) -> Array:
        width, step = int(v.shape[1]), self.columns
        parts = [self._block(map, v[:, start : min(start + step, width)]) for start in range(0, width, step)]
        return parts[0] if len(parts) == 1 else self.backend.xp.concat(parts, axis=1)

    def _block(self, map: LinearMap, v: Array) -> Array:
        xp, image = self.backend.xp, map._matmat(v)
        if self.backend.is_abstract(image):
            raise UnsupportedError(
                f"{self.text} decides by values how many products it takes, and a program that is being compiled has none; "
                "call it outside of jit"
            )
        # The sum tells at half of the cost, unless it overflows itself.
        if not bool(xp.isfinite(xp.sum(image))) and not bool(xp.all(xp.isfinite(image))):
            raise DataError("a product of the operator with a vector is NaN or infinite: look at the parameters and data")
        self.products += int(v.shape[1])
        if self._meter is not None:
            self._meter.tell(self.products, max(self.goal, self.products), self.text)
        if not self._measured:
            self._measure(float(xp.max(xp.abs(image))) if count(image) else 0.0)
        return image if self.unit == 1.0 else image / self.unit

    def _measure(self, largest: float) -> None:
        info = self.backend.xp.finfo(self.dtype)
        if largest > 0:
            self._measured = True
            if not float(info.smallest_normal) ** 0.25 < largest < float(info.max) ** 0.25:
                self.unit = 2.0 ** round(math.log2(largest))


def require_square(map: LinearMap, what: str) -> int:
    """The number of rows of a square map.

    Raises:
        ShapeError: if it is not square.
    """
    rows, columns = map.shape
    if rows != columns:
        raise ShapeError(f"{what} needs a square operator, this one has shape {(rows, columns)}")
    return int(rows)


def require_symmetric(map: LinearMap, what: str) -> int:
    """The number of rows of a symmetric map.

    Raises:
        ShapeError: if it is not square.
        NotSymmetricError: if it says that it is not symmetric.
    """
    n = require_square(map, what)
    if not getattr(map, "symmetric", True):
        raise NotSymmetricError(f"{what} is defined for symmetric operators; take (A + A.T) / 2 if that is meant")
    return n
