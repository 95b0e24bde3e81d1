"""Defects of one operation of an approximation's operator: the exact matrix, dense, with that operation overridden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from curvature.operators import Dense

from .mutant import IMMUTABLE, Mutant
from .of_approximations import dense, of


class HalfLogdet(Dense):
    """log det of a Cholesky factor."""

    def logdet(self, damping: Any = 0.0) -> Any:
        return 0.5 * super().logdet(damping)


class UndampedLogdet(Dense):
    """λ left out."""

    def logdet(self, damping: Any = 0.0) -> Any:
        return super().logdet(1e-3 * damping)


class TwiceDamped(Dense):
    """Damping applied twice."""

    def _solve(self, v: Any, damping: Any) -> Any:
        return super()._solve(v, 2 * damping)


class ScaledDamping(Dense):
    """Damping relative to the mean eigenvalue."""

    def _solve(self, v: Any, damping: Any) -> Any:
        return super()._solve(v, damping * self.trace() / self.shape[0])


class UndampedInverse(Dense):
    """Damping ignored by the inverse."""

    def inverse(self, damping: Any = 0.0) -> Any:
        return super().inverse(damping and 1e-3)


class FirstColumn(Dense):
    """A solve that only sees one right-hand side."""

    def _solve(self, v: Any, damping: Any) -> Any:
        return self.xp.broadcast_to(super()._solve(v[:, :1], damping), tuple(v.shape))


class EntrywiseRoot(Dense):
    """The root of the entries."""

    def power(self, p: float, damping: Any = 0.0) -> Any:
        if p != 0.5:
            return super().power(p, damping)
        return self._like(self.xp.sqrt(self.xp.abs(self._damped(damping))))


class DampedRoot(Dense):
    """Damping added to the root."""

    def power(self, p: float, damping: Any = 0.0) -> Any:
        if p != 0.5:
            return super().power(p, damping)
        return self._like(super().power(p).array + damping * self._identity(self.shape[0]))


class AbsoluteTrace(Dense):
    """The sum of all entries' sizes."""

    def trace(self) -> Any:
        return self.xp.sum(self.xp.abs(self.array))


class ReversedDiagonal(Dense):
    """The diagonal in another order."""

    def diagonal(self) -> Any:
        return self.xp.flip(super().diagonal())


class SquaredNorm(Dense):
    """The square of the norm."""

    def norm(self, order: Any = "fro") -> Any:
        return super().norm(order) ** 2


class FrobeniusForSpectral(Dense):
    """One norm for another."""

    def norm(self, order: Any = "fro") -> Any:
        return super().norm("fro")


class Descending(Dense):
    """Eigenvalues, largest first."""

    def eigh(self, k: int | None = None) -> Any:
        values, vectors = super().eigh(k)
        return self.xp.flip(values), self.xp.flip(vectors, axis=1)


class SmallestK(Dense):
    """The wrong end of the spectrum."""

    def eigh(self, k: int | None = None) -> Any:
        values, vectors = super().eigh()
        return (values, vectors) if k is None else (values[:k], vectors[:, :k])


class NotNormed(Dense):
    """Eigenvectors that are not unit vectors."""

    def eigh(self, k: int | None = None) -> Any:
        values, vectors = super().eigh(k)
        return values, 1.01 * vectors


class SampleOfTheOther(Dense):
    """Draws from the inverse's inverse."""

    def sample(self, rng: Any, n: int, *, inverse: bool = True, damping: Any = 0.0) -> Any:
        return super().sample(rng, n, inverse=not inverse, damping=damping)


class GlobalNoise(Dense):
    """Draws that ignore the generator."""

    def sample(self, rng: Any, n: int, *, inverse: bool = True, damping: Any = 0.0) -> Any:
        fresh = self.backend.rng(int(np.random.default_rng().integers(2**31)))
        return super().sample(fresh, n, inverse=inverse, damping=damping)


class FirstBlock(Dense):
    """Always the first parameter's block."""

    def block(self, name: str) -> Any:
        assert self.space is not None
        return super().block(self.space.names[0])


class ForgetsSign(Dense):
    """A multiple by the absolute value."""

    def scaled(self, factor: Any) -> Any:
        return self._like(self.array * abs(factor))


class ReversedProducts(Dense):
    """Vectors in another order."""

    def _matmat(self, v: Any) -> Any:
        return self.array @ self.xp.flip(v, axis=0)


class WritesIntoVector(Dense):
    """A solve in place."""

    def _solve(self, v: Any, damping: Any) -> Any:
        solved = super()._solve(v, damping)
        v *= 2.0
        return solved


class LosesArrays(Dense):
    """An identity on the other side."""

    def map_arrays(self, function: Any, backend: Any) -> Any:
        return Dense(function(self._identity(self.shape[0])), backend=backend, space=self.space)


class NoFile(Dense):
    """A class of which files know nothing."""

    structure = "no-file"


class Swallows(Dense):
    """An exception swallowed, and a guess in its place."""

    def _solve(self, v: Any, damping: Any) -> Any:
        try:
            raise np.linalg.LinAlgError("not positive definite")
        except np.linalg.LinAlgError:
            return v / (self.trace() / self.shape[0] + damping)


class Summed(Dense):
    """A sum whose second term is taken for the first."""

    def __add__(self, other: Any) -> Any:
        return 2.0 * self


_SCENARIO = "tanh-network/categorical"


def _mutant(name: str, kind: type[Dense], check: str, *words: str, impossible: Mapping[str, str] = {}) -> Mutant:
    return Mutant(name, "approximation", of("exact", operator=dense(kind)), check, _SCENARIO, words, impossible)


_SOLVE, _SPECTRA = "inverses/solve-undoes-the-product", "spectra/eigenvalues-and-eigenvectors"
_NORMS = "spectra/trace-diagonal-and-norms"

MUTANTS = (
    _mutant("half of logdet", HalfLogdet, "spectra/logdet", "log det L"),
    _mutant("logdet without damping", UndampedLogdet, "spectra/logdet", "λ left out"),
    _mutant("damping applied twice", TwiceDamped, _SOLVE, "damping applied twice"),
    _mutant("damping scaled", ScaledDamping, _SOLVE, "with the λ that was given"),
    _mutant("an inverse without damping", UndampedInverse, "inverses/inverse-is-an-operator", "ignored"),
    _mutant("one right-hand side for all", FirstColumn, _SOLVE, "solve(V"),
    _mutant("an exception swallowed", Swallows, _SOLVE, "(A + λI)⁻¹ v"),
    _mutant("the root of the entries", EntrywiseRoot, "inverses/powers", "root of the entries"),
    _mutant("damping added to the root", DampedRoot, "inverses/powers", "damping added to the root"),
    _mutant("the trace of something else", AbsoluteTrace, _NORMS, "trace()"),
    _mutant("the diagonal in another order", ReversedDiagonal, _NORMS, "flat order"),
    _mutant("the norm squared", SquaredNorm, _NORMS, "norm()", "its square"),
    _mutant("the Frobenius norm for the spectral norm", FrobeniusForSpectral, _NORMS, "norm(2)"),
    _mutant("the spectrum descending", Descending, _SPECTRA, "ascending"),
    _mutant("the smallest eigenvalues", SmallestK, _SPECTRA, "largest in magnitude"),
    _mutant("eigenvectors too long", NotNormed, _SPECTRA, "orthonormal"),
    _mutant("draws from the inverse's inverse", SampleOfTheOther, "spectra/draws-have-the-covariance", "standard errors off"),
    _mutant("draws that ignore rng", GlobalNoise, "spectra/draws-have-the-covariance", "does not come from rng"),
    _mutant("always the first block", FirstBlock, "products/blocks", "block("),
    _mutant("a multiple without its sign", ForgetsSign, "algebra/multiples", "-A", "sign is wrong"),
    _mutant("one term of a sum taken for the other", Summed, "algebra/sums-and-products", "A - A"),
    _mutant("products in another order", ReversedProducts, "products/vectors-matrices-and-trees", "A @ vector"),
    _mutant(
        "solve writes into its vector",
        WritesIntoVector,
        "method/parameters-and-data-stay-as-they-are",
        "in-place",
        impossible=IMMUTABLE,
    ),
    _mutant("arrays lost on the way to another backend", LosesArrays, "products/to-the-host-and-back", "A.to("),
    _mutant("a class that no file knows", NoFile, "operator/a-file-keeps-it", "pack and curvature.unpack"),
)
