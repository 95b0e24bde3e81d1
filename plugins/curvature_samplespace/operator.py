"""The operator s·I + J̃ᵀ M J̃ with M a function of the Gram matrix."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import curvature as cv
from curvature.autodiff import Traced
from curvature.operators import Dense, Diagonal, MatrixFree, Operator

from .functions import is_at_most, is_number, powered
from .side import RowsSide, Side

Array = Any

_CHUNK = 2**25


class SampleSpaceOperator(Operator):
    """s·I + J̃ᵀ U diag(c) Uᵀ J̃, with K = J̃ J̃ᵀ = U diag(λ) Uᵀ: eigenvalues s + c λ, and s for the rest.

    F = J̃ᵀ J̃ has s = 0 and c = 1; multiples, inverses and powers of such an operator are such operators again. A number c
    needs no decomposition: then ``solve`` is one Cholesky factorisation of an m × m matrix.

    Args:
        side: J̃ and K.
        shift: s.
        weights: c, one number, or one for each of ``side.eigen`` (rank,).
    """

    structure: ClassVar[str] = "sample-space"

    def __init__(self, side: Side, *, shift: Any = 0.0, weights: Any = 1.0) -> None:
        self.side = side
        self.backend = side.backend
        self.space = side.space
        self.shift = shift
        self.weights = weights

    @property
    def shape(self) -> tuple[int, int]:
        n = self.side.shape[1]
        return (n, n)

    @property
    def dtype(self) -> Any:
        return self.side.dtype

    @property
    def is_plain(self) -> bool:
        """Whether c is one number: s·I + c·F."""
        return getattr(self.weights, "ndim", 0) == 0

    def like(self, shift: Any, weights: Any) -> SampleSpaceOperator:
        """An operator with other s and c on the same side."""
        return SampleSpaceOperator(self.side, shift=shift, weights=weights)

    def map_arrays(self, function: Callable[[Array], Array], backend: cv.Backend) -> SampleSpaceOperator:
        if not isinstance(self.side, RowsSide):
            raise cv.UnsupportedError(
                "a matrix-free sample-space operator holds no rows that could be moved; take storage='rows', or move the problem"
            )
        shift, weights = (function(a) if hasattr(a, "shape") else a for a in (self.shift, self.weights))
        return SampleSpaceOperator(self.side.mapped(function, backend), shift=shift, weights=weights)

    # Products -----------------------------------------------------------------------------------------

    def _inner(self, w: Array) -> Array:
        """U diag(c) Uᵀ w for w (m, K)."""
        if self.is_plain:
            return w if is_number(self.weights, 1.0) else w * self.weights
        vectors = self.side.eigen[1]
        return vectors @ (self.weights[:, None] * (self.xp.matrix_transpose(vectors) @ w))

    def _matmat(self, v: Array) -> Array:
        product = self.side.pull(self._inner(self.side.push(v)))
        return product if is_number(self.shift, 0.0) else product + v * self.shift

    def to_dense(self) -> Array:
        if isinstance(self.side, RowsSide) and self.is_plain:
            dense = self.backend.gram(self.side.rows) * self.weights
            return dense if is_number(self.shift, 0.0) else dense + self._identity(self.shape[0]) * self.shift
        return super().to_dense()

    def scaled(self, factor: Any) -> SampleSpaceOperator:
        factor = float(factor) if isinstance(factor, Real) else factor
        return self.like(0.0 if is_number(self.shift, 0.0) else self.shift * factor, self.weights * factor)

    # Eigenvalues --------------------------------------------------------------------------------------

    @property
    def _eigenvalues(self) -> Array:
        """s + c λ (rank,), in the order of λ."""
        return self.side.eigen[0] * self.weights + self.shift

    @property
    def _distinct(self) -> Diagonal:
        """All eigenvalues, those equal to s but once: an operator that refuses what this one must refuse."""
        xp, values = self.xp, self._eigenvalues
        if self.side.rank < self.shape[0]:
            values = xp.concat([values, xp.zeros_like(values[:1]) + self.shift])
        return Diagonal(values, backend=self.backend)

    def _number(self, damping: Any) -> Any:
        """The damping as a Python number, where it has a value."""
        if isinstance(damping, Traced) or (hasattr(damping, "shape") and self.backend.is_abstract(damping)):
            return damping
        return float(damping)

    def _is_woodbury(self, base: Any) -> bool:
        """Whether the operator is c·F + base·I with both positive."""
        return self.is_plain and not is_at_most(self.weights, 0.0) and not is_at_most(base, 0.0)

    def _solve(self, v: Array, damping: Any) -> Array:
        base = self.shift + damping
        if not self._is_woodbury(base):
            return self.power(-1, damping)._matmat(v)
        middle = self.side.gram._solve(self.side.push(v), base / self.weights)
        return (v - self.side.pull(middle)) / base

    def inverse(self, damping: Any = 0.0) -> SampleSpaceOperator:
        return self.power(-1, damping)

    def power(self, p: float, damping: Any = 0.0) -> SampleSpaceOperator:
        values, distinct = self.side.eigen[0], self._distinct
        pseudo = p < 0 and self.side.rcond is not None and is_number(self.shift, 0.0) and is_number(damping, 0.0)
        if pseudo:
            keep = values > self.side.rcond * values[:1]
            safe = self.xp.where(keep, self._eigenvalues, self.xp.ones_like(values))
            powers = Diagonal(safe, backend=self.backend).power(p).entries
            return self.like(0.0, self.xp.where(keep, powers / self.xp.where(keep, values, safe), 0.0 * values))
        # It refuses what has no such power.
        powers = distinct.power(p, damping).entries[: self.side.rank]
        weights = self.xp.zeros_like(values) + self.weights
        shift, weights = powered(self.xp, values, weights, self.shift + self._number(damping), float(p), powers)
        return self.like(shift, weights)

    def logdet(self, damping: Any = 0.0) -> Array:
        size, (m, rank) = self.shape[0], (self.side.shape[0], self.side.rank)
        number = self._number(damping)
        base = self.shift + number
        if self._is_woodbury(base):
            total = self.side.gram.logdet(base / self.weights)
            return total + (size - m) * self._log(base) + m * self._log(self.weights)
        total = self._distinct.logdet(damping)
        return total if rank == size else total + (size - rank - 1) * self._log(base)

    def _log(self, number: Any) -> Array:
        return self.xp.log(self.xp.zeros_like(self.side.gram.array[0, 0]) + number)

    def trace(self) -> Array:
        if self.is_plain:
            total = self.xp.sum(self.side.gram.diagonal()) * self.weights
        else:
            total = self.xp.sum(self.side.eigen[0] * self.weights)
        return total + self.shape[0] * self.shift

    def norm(self, order: str | int = "fro") -> Array:
        if order != "fro":
            return self._distinct.norm(order)
        if self.is_plain and is_number(self.shift, 0.0):
            return self.side.gram.norm() * abs(self.weights)
        values = self._eigenvalues
        rest = (self.shape[0] - self.side.rank) * self.shift**2
        return self.xp.sqrt(self.xp.sum(values * values) + rest)

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        size, rank, xp = self.shape[0], self.side.rank, self.xp
        if k is not None and not 1 <= k <= size:
            raise ValueError(f"k must lie in 1 … {size}, got {k}")
        values, vectors = self._eigenvalues, self.side.eigen[1]
        if k is not None and k <= rank and is_number(self.shift, 0.0):
            order = xp.argsort(xp.abs(values), descending=True)[:k]
            # Columns J̃ᵀu of small λ are inexact beside those of large ones; the decomposition takes those out of them.
            basis = xp.linalg.qr(self.side.pull(xp.take(vectors, order, axis=1)), mode="reduced")[0]
            return xp.take(values, order), basis
        if size > self.dense_limit:
            raise cv.UnsupportedError(
                f"all eigenvectors of {size} parameters would take {size**2 * 8 / 1e9:.0f} GB; ask for the k largest of a matrix "
                f"without damping, eigh(k) with k ≤ {rank}"
            )
        basis = xp.linalg.qr(self.side.pull(vectors), mode="complete")[0]
        if rank < size:
            values = xp.concat([values, xp.zeros((size - rank,), dtype=self.dtype, device=self._device) + self.shift])
        order = xp.argsort(values) if k is None else xp.argsort(xp.abs(values), descending=True)[:k]
        return xp.take(values, order), xp.take(basis, order, axis=1)

    # Entries ------------------------------------------------------------------------------------------

    def diagonal(self) -> Array:
        if self.is_plain:
            return self.side.diagonal() * self.weights + self.shift
        xp, vectors = self.xp, self.side.eigen[1]
        step = max(1, _CHUNK // self.shape[0])
        total: Any = self.shift
        for start in range(0, self.side.rank, step):
            some = slice(start, min(start + step, self.side.rank))
            columns = self.side.pull(vectors[:, some])
            total = total + xp.sum(columns * columns * self.weights[None, some], axis=1)
        return total

    def block(self, name: str) -> Operator:
        """The diagonal block of the parameter called ``name``: of the same form for s·I + c·F, else dense or matrix-free."""
        if self.space is None:
            raise cv.ShapeError("this operator does not know any parameters, so it has no named blocks")
        index = self.space.index(name)
        start, stop = self.space.offsets[index], self.space.offsets[index + 1]
        xp = self.xp
        if isinstance(self.side, RowsSide):
            rows = self.side.rows[:, start:stop]
            if self.is_plain:
                side = RowsSide(rows, self.backend, rcond=self.side.rcond)
                return SampleSpaceOperator(side, shift=self.shift, weights=self.weights)
            dense = xp.matrix_transpose(rows) @ self._inner(rows)
            return Dense(dense + self._identity(stop - start) * self.shift, backend=self.backend, symmetric=True)
        before, after = start, self.shape[0] - stop

        def product(v: Array) -> Array:
            pieces = [xp.zeros((n, v.shape[1]), dtype=v.dtype, device=self._device) for n in (before, after)]
            return self._matmat(xp.concat([pieces[0], v, pieces[1]], axis=0))[start:stop, :]

        return MatrixFree(product, stop - start, dtype=self.dtype, backend=self.backend)

    # Draws --------------------------------------------------------------------------------------------

    def sample(self, rng: cv.Rng, n: int, *, inverse: bool = True, damping: Any = 0.0) -> Array:
        """``n`` draws (n, P) from N(0, (A + damping·I)⁻¹), or with ``inverse=False`` from N(0, A + damping·I).

        y = √c J̃ᵀ z + √s z' has the covariance c F + s I, and (c F + s I)⁻¹ y its inverse: no decomposition of K.
        """
        base = self.shift + self._number(damping)
        if not self._is_woodbury(base):
            return super().sample(rng, n, inverse=inverse, damping=damping)
        root = self.side.pull(rng.normal((self.side.shape[0], n), dtype=self.dtype)) * self.weights**0.5
        draws = root + rng.normal((self.shape[0], n), dtype=self.dtype) * base**0.5
        return self.xp.matrix_transpose(self.solve(draws, damping) if inverse else draws)
