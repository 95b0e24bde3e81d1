"""A diagonal matrix plus one of low rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from ..backend.values import has_values
from ..errors import DataError, NotPositiveDefiniteError, NotSymmetricError, ShapeError, SingularMatrixError
from ..trees import ParameterSpace, count
from .base import Operator
from .checks import check_rank, require_floating
from .congruence import Congruence, congruence, sum_of_draws
from .damping import check_damping
from .diagonal import Diagonal
from .low_rank_forms import SpectralForm, core_matrix, orthonormal_form, times_core
from .spectral import singular_threshold

if TYPE_CHECKING:
    from ..backend import Backend, Rng

Array = Any


class LowRankPlusDiagonal(Operator):
    """diag(d) + Y C Yᵀ: what a damped low-rank matrix and its inverse, powers and sums are.

    Everything costs O(P k²) at most and is exact, by the Woodbury identity in the symmetric form of ``Congruence``, but
    for the eigenvalues, powers (other than -2 … 2) and spectral norm where d is not constant: those are the general ones
    of ``Operator``. d may have zeros and negative entries, C may be singular or indefinite.

    Args:
        entries: d, a vector (P,).
        factor: Y (P, k); k may be 0.
        core: C, a symmetric matrix (k, k) or the vector of its diagonal (k,); by default the identity.
        space: the parameters that its rows stand for.

    Raises:
        ShapeError: if the arrays do not fit each other or ``space``.
        NotSymmetricError: if C is not symmetric to 1e4 eps of its largest entry.
        DataError: if the arrays have several dtypes, or not a floating one.

    Source: Woodbury (1950), "Inverting modified matrices".
    """

    structure: ClassVar[str] = "low-rank-plus-diagonal"

    def __init__(
        self,
        entries: Array,
        factor: Array,
        core: Array | None = None,
        *,
        backend: Backend | None = None,
        space: ParameterSpace | None = None,
    ) -> None:
        from ..registry import backend_of

        self.backend = backend_of(entries) if backend is None else backend
        if entries.ndim != 1 or factor.ndim != 2 or factor.shape[0] != entries.shape[0]:
            raise ShapeError(
                f"a diagonal (P,) and a factor (P, k) are needed, got arrays of shapes {tuple(entries.shape)} and "
                f"{tuple(factor.shape)}"
            )
        if space is not None and entries.shape[0] != space.size:
            raise ShapeError(f"{entries.shape[0]} diagonal entries do not fit {space.size} parameters")
        k = int(factor.shape[1])
        if core is None:
            core = self.xp.ones((k,), dtype=factor.dtype, device=self.backend.device)
        if tuple(core.shape) not in ((k,), (k, k)):
            raise ShapeError(f"the core of {k} columns has shape ({k},) or ({k}, {k}), got {tuple(core.shape)}")
        for name, array in (("entries", entries), ("factor", factor), ("core", core)):
            require_floating(self.xp, array, f"the {name} of an operator of low rank plus diagonal")
            if array.dtype != entries.dtype:
                raise DataError(f"the {name} are of {array.dtype}, the entries of {entries.dtype}: convert them, xp.astype")
        self._check_symmetric(core)
        self.entries = entries
        self.factor = factor
        self.core = core
        self.space = space
        self._spectral: SpectralForm | None = None
        self._congruence: tuple[float, Congruence | None] | None = None

    def _check_symmetric(self, core: Array) -> None:
        if core.ndim == 1 or count(core) == 0 or not has_values(core):
            return
        xp = self.xp
        gap = float(xp.max(xp.abs(core - xp.matrix_transpose(core))))
        if not gap <= 1e4 * float(xp.finfo(core.dtype).eps) * float(xp.max(xp.abs(core))):
            raise NotSymmetricError(f"the core is not symmetric: C and its transpose differ by {gap:.3g}")

    @property
    def shape(self) -> tuple[int, int]:
        n = int(self.entries.shape[0])
        return (n, n)

    @property
    def dtype(self) -> Any:
        return self.entries.dtype

    def _like(self, entries: Array, factor: Array, core: Array) -> LowRankPlusDiagonal:
        return LowRankPlusDiagonal(entries, factor, core, backend=self.backend, space=self.space)

    def map_arrays(self, function: Callable[[Array], Array], backend: Backend) -> LowRankPlusDiagonal:
        arrays = (function(array) for array in (self.entries, self.factor, self.core))
        return LowRankPlusDiagonal(*arrays, backend=backend, space=self.space)

    def _matmat(self, v: Array) -> Array:
        inner = self.xp.matrix_transpose(self.factor) @ v
        return self.entries[:, None] * v + self.factor @ times_core(self.core, inner)

    def scaled(self, factor: Any) -> LowRankPlusDiagonal:
        return self._like(self.entries * factor, self.factor, self.core * factor)

    def block(self, name: str) -> LowRankPlusDiagonal:
        if self.space is None:
            raise ShapeError("this operator does not know any parameters, so it has no named blocks")
        index = self.space.index(name)
        rows = slice(self.space.offsets[index], self.space.offsets[index + 1])
        return LowRankPlusDiagonal(self.entries[rows], self.factor[rows, :], self.core, backend=self.backend)

    def _diagonal_part(self) -> Diagonal:
        return Diagonal(self.entries, backend=self.backend, space=self.space)

    # Forms, made once ---------------------------------------------------------------------------------

    def _spectral_form(self) -> SpectralForm | None:
        """c I + V diag(t) Vᵀ with orthonormal V, if the diagonal is known to be constant."""
        if self._spectral is None and count(self.entries) and has_values(self.entries):
            constant = float(self.entries[0])
            if bool(self.xp.all(self.entries == constant)):
                vectors, values = orthonormal_form(self.backend, self.factor, self.core)
                self._spectral = SpectralForm(self.backend, vectors, values + constant, constant)
        return self._spectral

    def _form(self, damping: Any) -> Congruence | None:
        """A + damping·I as a congruence; the last one is kept."""
        if self._congruence is not None and isinstance(damping, float) and self._congruence[0] == damping:
            return self._congruence[1]
        form = self._of_constant(damping)
        if form is not None:
            return form
        try:
            form = congruence(self.backend, self.entries + damping, self.factor, self.core)
        except SingularMatrixError as error:
            raise self._singular(damping) from error
        if isinstance(damping, float) and has_values(self.entries):
            self._congruence = (damping, form)
        return form

    def _of_constant(self, damping: Any) -> Congruence | None:
        """(c + damping) (I + V diag(t / (c + damping)) Vᵀ), without a decomposition for each damping."""
        form = self._spectral_form()
        if form is None:
            return None
        shifted, sign = form.rest + damping, 1.0
        if isinstance(shifted, float):
            if shifted == 0 or (shifted < 0 and not form.codimension):
                return None
            sign = 1.0 if shifted > 0 else -1.0
        elif form.rest < 0:
            return None
        root = self.xp.sqrt(self.xp.zeros_like(self.entries) + sign * shifted)
        return Congruence(self.backend, sign, root, form.vectors, (form.values - form.rest) / shifted)

    def _regular(self, form: Congruence, damping: Any) -> Congruence:
        """The form itself, after making sure that no eigenvalue is zero to working precision."""
        xp, spectrum = self.xp, form.spectrum
        if count(spectrum) and has_values(spectrum):
            sizes = xp.abs(spectrum)
            if float(xp.min(sizes)) <= singular_threshold(xp, float(xp.max(sizes)), count(spectrum), self.dtype):
                raise self._singular(damping)
        return form

    def _positive(self, damping: Any, what: str) -> Congruence:
        """The congruence of a positive definite A + damping·I."""
        form = self._form(damping)
        known = form is None or has_values(form.values)
        if form is None or form.sign < 0 or (known and count(form.values) and float(self.xp.min(form.spectrum)) < 0):
            if form is not None and form.sign > 0:
                self._regular(form, damping)
            raise self._not_positive(damping, what)
        return self._regular(form, damping)

    def _singular(self, damping: Any) -> SingularMatrixError:
        eps = float(self.xp.finfo(self.dtype).eps)
        enough = float(damping) + 1e3 * eps * (1 + int(self.factor.shape[1])) * float(self.norm())
        return SingularMatrixError(
            f"the operator is singular to working precision (diagonal entries from {float(self.xp.min(self.entries)):.3g}, "
            f"{self.factor.shape[1]} columns, damping {float(damping):.3g}); a damping of {max(enough, 1e-30):.1g} or more "
            f"would do"
        )

    def _not_positive(self, damping: Any, what: str) -> NotPositiveDefiniteError:
        # Weyl: no eigenvalue is below the least of the diagonal plus the least of the other part.
        xp, (_, values) = self.xp, orthonormal_form(self.backend, self.factor, self.core)
        least = float(xp.min(values)) if count(values) else 0.0
        bound = float(xp.min(self.entries)) + float(damping) + min(least, 0.0)
        return NotPositiveDefiniteError(
            f"{what} needs a positive definite operator; the eigenvalues of this one reach down to no less than {bound:.3g}, and "
            f"some are negative; a damping above {-bound:.3g} more would do"
        )

    # Functions of the matrix --------------------------------------------------------------------------

    def _solve(self, v: Array, damping: Any) -> Array:
        form = self._form(damping)
        if form is None:
            return super()._solve(v, damping)
        tau = self._regular(form, damping).values
        scaled = form.within(v / form.root[:, None], -tau / (1.0 + tau))
        return form.sign * scaled / form.root[:, None]

    def inverse(self, damping: Any = 0.0) -> Operator:
        damping = check_damping(damping)
        form = self._form(damping)
        if form is None:
            return super().inverse(damping)
        tau, root = self._regular(form, damping).values, form.root
        return self._like(form.sign / root**2, form.vectors / root[:, None], -form.sign * tau / (1.0 + tau))

    def power(self, p: float, damping: Any = 0.0) -> Operator:
        damping = check_damping(damping)
        if p == 1:
            return self._like(self.entries + damping, self.factor, self.core)
        if p == 0:
            empty = self.xp.zeros((0,), dtype=self.dtype, device=self._device)
            return self._like(self.xp.ones_like(self.entries), self.factor[:, :0], empty)
        if not self.factor.shape[1]:
            return self._diagonal_part().power(p, damping)
        form = self._spectral_form()
        if form is not None:
            inside, outside = form.powers(p, damping)
            outside = self.xp.zeros_like(self.entries[0]) if outside is None else outside
            return self._like(self.xp.zeros_like(self.entries) + outside, form.vectors, inside - outside)
        if p == -1:
            return self.inverse(damping)
        if p in (2, -2):
            root = self.power(p // 2, damping)
            return root._squared() if isinstance(root, LowRankPlusDiagonal) else root.power(2)
        return super().power(p, damping)

    def _squared(self) -> LowRankPlusDiagonal:
        """D² + [D Y, Y] [[0, C], [C, C YᵀY C]] [D Y, Y]ᵀ."""
        xp, y = self.xp, self.factor
        core = core_matrix(self.backend, self.core)
        corner = core @ (xp.matrix_transpose(y) @ y) @ core
        top = xp.concat([xp.zeros_like(core), core], axis=1)
        bottom = xp.concat([core, (corner + xp.matrix_transpose(corner)) / 2], axis=1)
        return self._like(self.entries**2, xp.concat([self.entries[:, None] * y, y], axis=1), xp.concat([top, bottom], axis=0))

    def sample(self, rng: Rng, n: int, *, inverse: bool = True, damping: Any = 0.0) -> Array:
        """``n`` draws (n, P) from N(0, (A + damping·I)⁻¹), or with ``inverse=False`` from N(0, A + damping·I).

        Exact at the cost of products: D^±½ (I + V diag(τ) Vᵀ)^±½ z with standard normal z, the symmetric root where the
        diagonal is constant, or √d z + Y C^½ w where both parts are positive semidefinite.

        Raises:
            NotPositiveDefiniteError: naming a damping that would do.
        """
        xp, damping = self.xp, check_damping(damping)
        if self._spectral_form() is not None:
            return super().sample(rng, n, inverse=inverse, damping=damping)
        if not inverse:
            drawn = sum_of_draws(self.backend, self.entries + damping, self.factor, self.core, rng, n)
            if drawn is not None:
                return drawn
        form = self._positive(damping, "sample")
        noise = rng.normal((self.shape[0], n), dtype=self.dtype)
        power = -0.5 if inverse else 0.5
        drawn = form.within(noise, (1.0 + form.values) ** power - 1.0)
        root = form.root[:, None]
        return xp.matrix_transpose(drawn / root if inverse else drawn * root)

    # Numbers ------------------------------------------------------------------------------------------

    def logdet(self, damping: Any = 0.0) -> Array:
        form = self._positive(check_damping(damping), "logdet")
        return 2.0 * self.xp.sum(self.xp.log(form.root)) + self.xp.sum(self.xp.log1p(form.values))

    def _product_diagonal(self) -> Array:
        xp, y = self.xp, self.factor
        return xp.sum(y * xp.matrix_transpose(times_core(self.core, xp.matrix_transpose(y))), axis=1)

    def diagonal(self) -> Array:
        return self.entries + self._product_diagonal()

    def norm(self, order: str | int = "fro") -> Array:
        if not self.factor.shape[1]:
            return self._diagonal_part().norm(order)
        xp, form = self.xp, self._spectral_form()
        if form is not None:
            return form.norm(order)
        if order == "fro":
            # ‖diag A‖² and what is off the diagonal, which is that of the product alone.
            product, core = self._product_diagonal(), core_matrix(self.backend, self.core)
            inner = core @ (xp.matrix_transpose(self.factor) @ self.factor)
            off = xp.sum(inner * xp.matrix_transpose(inner)) - xp.sum(product**2)
            return xp.sqrt(xp.sum((self.entries + product) ** 2) + xp.where(off > 0, off, xp.zeros_like(off)))
        return super().norm(order)

    def eigh(self, k: int | None = None) -> tuple[Array, Array]:
        check_rank(k, self.shape[0])
        if not self.factor.shape[1]:
            return self._diagonal_part().eigh(k)
        form = self._spectral_form()
        if form is None or (k is None and self.shape[0] > self.dense_limit):
            return super().eigh(k)
        return form.eigenpairs(k)
