"""A sum of Kronecker products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import MixedBackendError, ShapeError
from ..trees import ParameterSpace
from .base import Operator
from .damping import check_damping, is_zero
from .dense import Dense
from .kronecker import Kronecker
from .kronecker_congruence import KroneckerCongruence

if TYPE_CHECKING:
    from ..backend import Backend

Array = Any


class KroneckerSum(Operator):
    """Σ_r A_r ⊗ B_r. (Not the Kronecker sum A ⊕ B = A ⊗ I + I ⊗ B, which is one case of it.)

    Products, trace, diagonal and Frobenius norm are exact and never form the sum. So are ``solve``, ``inverse`` and ``logdet``
    without damping of two symmetric terms one of which is definite: with A_1 = L Lᵀ and L⁻¹ A_2 L⁻ᵀ = Q Λ Qᵀ, and alike for B,
    the sum is (C ⊗ D) (I + Λ ⊗ M) (C ⊗ D)ᵀ, C = L Q (Martens and Grosse 2015, appendix B). With damping, with more terms,
    or with no term that is definite, those operations are what they are for any operator. One term is that Kronecker product.

    Args:
        terms: Kronecker products, or the factors of each; the sizes of the factors are those of the first.
        symmetric: whether the sum is symmetric; by default it is where all of the terms are.
        space: the parameters that its rows stand for.

    Raises:
        ShapeError: if there is no term, or the terms do not fit each other or ``space``.
        MixedBackendError: if terms live on different backends.
    """

    structure: ClassVar[str] = "kronecker-sum"

    def __init__(
        self,
        terms: Sequence[Kronecker | Sequence[Array | Dense]],
        *,
        symmetric: bool | None = None,
        backend: Backend | None = None,
        space: ParameterSpace | None = None,
    ) -> None:
        if not terms:
            raise ShapeError("a sum of Kronecker products needs at least one term")
        self.terms = tuple(t if isinstance(t, Kronecker) else Kronecker(t, backend=backend) for t in terms)
        first = self.terms[0]
        if any(term.sizes != first.sizes for term in self.terms):
            raise ShapeError(f"terms with factors of sizes {[term.sizes for term in self.terms]}; they must be the same in all")
        self.backend = first.backend
        if any(term.backend != self.backend for term in self.terms):
            raise MixedBackendError("the terms live on different backends; move them with .to(backend)")
        if space is not None and space.size != first.shape[0]:
            raise ShapeError(f"a sum of Kronecker products of size {first.shape[0]} does not fit {space.size} parameters")
        self.space = space
        self.symmetric = all(term.symmetric for term in self.terms) if symmetric is None else symmetric
        self._diagonalised: KroneckerCongruence | None = None
        self._tried = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each factor."""
        return self.terms[0].sizes

    @property
    def shape(self) -> tuple[int, int]:
        return self.terms[0].shape

    @property
    def dtype(self) -> Any:
        return self.terms[0].dtype

    def _each(self, function: Callable[[Kronecker], Kronecker]) -> KroneckerSum:
        return KroneckerSum([function(term) for term in self.terms], symmetric=self.symmetric, space=self.space)

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> KroneckerSum:
        return self._each(lambda term: term.map_arrays(function, backend))

    def _matmat(self, v: Array) -> Array:
        return reduce(lambda a, b: a + b, [term._matmat(v) for term in self.terms])

    def _transpose(self) -> KroneckerSum:
        return self._each(lambda term: term._transpose())

    # Two terms at once --------------------------------------------------------------------------------

    def simultaneous(self) -> KroneckerCongruence | None:
        """The same matrix in a basis in which both terms are diagonal; None unless there are two symmetric ones of two
        factors, and one of them is safely definite. Computed once and kept.
        """
        if not self._tried:
            self._diagonalised, self._tried = self._diagonalise(), True
        return self._diagonalised

    def _diagonalise(self) -> KroneckerCongruence | None:
        if len(self.terms) != 2 or len(self.sizes) != 2 or not all(term.symmetric for term in self.terms):
            return None
        for one, other in (self.terms, tuple(reversed(self.terms))):
            roots = [_root(factor) for factor in one.factors]
            if any(root is None for root in roots):
                continue
            sign, bases, inverses, values = 1.0, [], [], []
            for root, factor in zip(roots, other.factors, strict=True):
                assert root is not None
                basis, inverse, ratios = self._pencil(root[1], factor.array)
                sign *= root[0]
                bases.append(basis)
                inverses.append(inverse)
                values.append(ratios)
            total = sign + values[0][:, None] * values[1][None, :]
            return KroneckerCongruence(bases, total, inverse_bases=inverses, backend=self.backend, space=self.space)
        return None

    def _pencil(self, lower: Array, matrix: Array) -> tuple[Array, Array, Array]:
        """(C, C⁻¹, λ) with L Lᵀ = C Cᵀ and the matrix C diag(λ) Cᵀ."""
        xp, solve = self.xp, self.backend.solve_triangular
        half = xp.matrix_transpose(solve(lower, matrix, lower=True))
        values, vectors = self.backend.eigh(solve(lower, half, lower=True))
        inverse = xp.matrix_transpose(solve(lower, vectors, lower=True, transposed=True))
        return lower @ vectors, inverse, values

    def _exactly(self, damping: Any) -> Operator | None:
        """An operator that is the same and solves exactly with this damping, if there is one."""
        if len(self.terms) == 1:
            (term,) = self.terms
            return term if self.space is None else Kronecker(term.factors, space=self.space)
        return self.simultaneous() if is_zero(damping) else None

    def _solve(self, v: Array, damping: Any) -> Array:
        same = self._exactly(damping)
        return super()._solve(v, damping) if same is None else same._solve(v, damping)

    def inverse(self, damping: Any = 0.0) -> Operator:
        """(A + damping·I)⁻¹: a ``KroneckerCongruence`` of two terms without damping."""
        damping = check_damping(damping)
        same = self._exactly(damping)
        return super().inverse(damping) if same is None else same.inverse(damping)

    def power(self, p: float, damping: Any = 0.0) -> Operator:
        if p == -1:
            return self.inverse(damping)
        same = self._exactly(damping) if len(self.terms) == 1 else None
        return super().power(p, damping) if same is None else same.power(p, damping)

    def logdet(self, damping: Any = 0.0) -> Array:
        damping = check_damping(damping)
        same = self._exactly(damping)
        return super().logdet(damping) if same is None else same.logdet(damping)

    # Sums over the terms ------------------------------------------------------------------------------

    def trace(self) -> Array:
        return reduce(lambda a, b: a + b, [term.trace() for term in self.terms])

    def diagonal(self) -> Array:
        return reduce(lambda a, b: a + b, [term.diagonal() for term in self.terms])

    def to_dense(self) -> Array:
        return reduce(lambda a, b: a + b, [term.to_dense() for term in self.terms])

    def _inner(self, other: Operator) -> Array:
        from .inner import inner

        return sum(inner(term, other) for term in self.terms)

    def norm(self, order: str | int = "fro") -> Array:
        if len(self.terms) == 1:
            return self.terms[0].norm(order)
        if order != "fro" or len(self.sizes) != 2:
            return super().norm(order)
        # Rearranged, the sum is X Yᵀ with the factors as columns: with X = Q R and Y = Q' R' its norm is that of R R'ᵀ.
        xp = self.xp
        left, right = (
            xp.linalg.qr(xp.stack([xp.reshape(term.factors[i].array, (-1,)) for term in self.terms], axis=1))[1] for i in (0, 1)
        )
        return xp.sqrt(xp.sum((left @ xp.matrix_transpose(right)) ** 2))

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        return self.terms[0].eigh(k) if len(self.terms) == 1 else super().eigh(k)

    def scaled(self, factor: Any) -> KroneckerSum:
        return self._each(lambda term: term.scaled(factor))


def _root(factor: Dense) -> tuple[float, Array] | None:
    """(1, L) with A = L Lᵀ, (-1, L) with A = -L Lᵀ, or None where A is not safely definite."""
    for sign in (1.0, -1.0):
        lower = (factor if sign > 0 else factor.scaled(-1.0))._cholesky(0.0)
        if lower is not None:
            return sign, lower
    return None
