"""The options of both approximations, and how their statistics merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Literal

import curvature as cv
from curvature.operators import LowRank

from .costs import low_rank_cost
from .sketch import core_of, directions, nystrom

Array = Any
Tree = Any


@dataclass(frozen=True)
class LowRankMethod(cv.Approximation):
    """F ≈ U_k Λ_k U_kᵀ, k eigenpairs: nothing of rank k is nearer (Eckart and Young 1936).

    ``solver="nystrom"`` takes F Ω with random directions Ω in one pass over the data: (FΩ)(ΩᵀFΩ)⁺(FΩ)ᵀ, positive
    semidefinite and no larger than F (Tropp, Yurtsever, Udell and Cevher 2017; Frangella, Tropp and Udell 2023). FΩ is linear
    in F, so statistics merge, stream and average exactly. ``"lanczos"`` finds the eigenpairs largest in magnitude to
    rounding, of matrices that need not be positive semidefinite (a Hessian), in more passes; its statistics merge
    approximately, since eigenpairs that were left out are not there any more.

    How good it is: ‖(F + δI)⁻¹ - (F_k + δI)⁻¹‖₂ = λ_{k+1} / (δ (λ_{k+1} + δ)), where λ_{k+1} is the first eigenvalue left
    out, or for Nyström the norm of F - F_k, of which it is a bound. ``rank="auto"`` keeps

    - without ``damping``: ``max_rank`` pairs, or those that differ from zero to working precision;
    - ``rule="certified"``: as many as it takes until λ_{k+1} ≤ ε · δ, so that the damped inverse is off by no more than
      ε / (1 + ε) of 1/δ. The sketch is doubled, earlier products are kept, and ‖F - F_k‖ is measured by the Lanczos method;
    - ``rule="effective-dimension"``: 2 ⌈1.5 d⌉ + 1 with d = tr F (F + δI)⁻¹, estimated by stochastic Lanczos quadrature:
      enough for a preconditioner of small condition number (Frangella, Tropp and Udell 2023).

    Attributes:
        rank: k, or "auto".
        solver: "nystrom" or "lanczos".
        rule: how "auto" chooses with a damping.
        damping: δ > 0 with which the inverse will be used; ``operator.solve(v, damping)`` takes any.
        epsilon: ε of the certified rule.
        max_rank: largest rank that "auto" takes; a rule that would need more is given up, and a warning says which ε was
            reached. None is the number of parameters.
        oversampling: further columns of Ω.
        power_iterations: Ω is replaced by an orthonormal basis of F^q Ω, which separates eigenvalues that fall slowly and
            takes q more passes; statistics then are eigenpairs and merge approximately.
        seed: of Ω, or of the start.

    Raises:
        DataError: if an option cannot be, or the rank exceeds the dimension.
    """

    name: ClassVar[str] = "low-rank"
    rank: int | Literal["auto"] = "auto"
    solver: Literal["nystrom", "lanczos"] = "nystrom"
    rule: Literal["certified", "effective-dimension"] = "certified"
    damping: float | None = None
    epsilon: float = 0.1
    max_rank: int | None = 100
    oversampling: int = 10
    power_iterations: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for option, allowed in (("solver", ("nystrom", "lanczos")), ("rule", ("certified", "effective-dimension"))):
            if getattr(self, option) not in allowed:
                raise cv.DataError(f"{self.name}: {option} is {' or '.join(map(repr, allowed))}, got {getattr(self, option)!r}")
        if self.rank != "auto" and not _whole(self.rank, 1):
            raise cv.DataError(f"{self.name}: rank is a whole number ≥ 1 or 'auto', got {self.rank!r}")
        if self.max_rank is not None and not _whole(self.max_rank, 1):
            raise cv.DataError(f"{self.name}: max_rank is a whole number ≥ 1 or None, got {self.max_rank!r}")
        for option in ("oversampling", "power_iterations"):
            if not _whole(getattr(self, option), 0):
                raise cv.DataError(f"{self.name}: {option} is a whole number ≥ 0, got {getattr(self, option)!r}")
        for option in ("epsilon", "damping"):
            value = getattr(self, option)
            if value is not None and not (value > 0 and isfinite(value)):
                raise cv.DataError(f"{self.name}: {option} is a finite number > 0, got {value!r}")
        if self.rule == "effective-dimension" and self.damping is None:
            raise cv.DataError(f"{self.name}: the effective dimension tr F (F + δI)⁻¹ is that of a damping δ; give one")

    @property
    def merges(self) -> Literal["exact", "approximate"]:  # type: ignore[override]
        """Sketches of the same directions add; eigenpairs that were left out are lost."""
        fixed = self.rank != "auto" or self.damping is None
        return "exact" if self.is_linear and fixed else "approximate"

    @property
    def is_linear(self) -> bool:
        """Whether the statistics are a sketch, linear in the matrix, rather than eigenpairs."""
        return self.solver == "nystrom" and self.power_iterations == 0

    @property
    def cut(self) -> float:
        """Eigenvalues up to here are left out by the certified rule. Of a sketch half of ε δ is for what the sketch misses."""
        assert self.damping is not None
        return self.epsilon * self.damping * (0.5 if self.solver == "nystrom" else 1.0)

    def largest_rank(self, n: int) -> int:
        """The largest rank that is kept of an n × n matrix.

        Raises:
            DataError: if the rank asked for exceeds the dimension.
        """
        if self.rank == "auto":
            return n if self.max_rank is None else min(n, self.max_rank)
        if self.rank > n:
            raise cv.DataError(
                f"{self.name}: a rank of {self.rank} exceeds the dimension: the matrix is {n} × {n}; ask for at most {n}, or for "
                f"rank='auto'"
            )
        return self.rank

    def kept(self, backend: cv.Backend, values: Array, n: int) -> int:
        """How many of the eigenvalues, largest in magnitude first, are kept."""
        most = min(self.largest_rank(n), int(values.shape[0]))
        if self.rank != "auto" or self.damping is None or self.rule != "certified" or backend.is_abstract(values):
            return most
        xp = backend.xp
        return min(most, int(xp.sum(xp.astype(xp.abs(values) > self.cut, xp.int32))))

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return low_rank_cost(self, layout)

    def merge(self, statistics: list[Tree], weights: list[Any]) -> Tree:
        if "sketch" in statistics[0]:
            return super().merge(self._equally_wide(statistics), weights)
        merged = {name: value for name, value in statistics[0].items() if name not in ("vectors", "values")}
        merged = super().merge([{name: part[name] for name in merged} for part in statistics], weights)
        return {**merged, **self._joined(statistics, weights)}

    def _equally_wide(self, statistics: Sequence[Tree]) -> list[Tree]:
        """Sketches that "auto" made of different widths, the narrower ones widened by their own approximations."""
        widths = [int(part["sketch"].shape[1]) for part in statistics]
        if len(set(widths)) <= 1:
            return list(statistics)
        sketch = statistics[0]["sketch"]
        backend, n = cv.backend_of(sketch), int(sketch.shape[0])
        omega = directions(backend, self.seed, n, max(widths), sketch.dtype)
        wide = []
        for part, width in zip(statistics, widths, strict=True):
            if width < max(widths):
                more = nystrom(backend, part["sketch"], part["core"]) @ omega[:, width:]
                sketch = backend.xp.concat([part["sketch"], more], axis=1)
                part = {**part, "sketch": sketch, "core": core_of(backend, omega, sketch)}
            wide.append(part)
        return wide

    def _joined(self, statistics: Sequence[Tree], weights: Sequence[Any]) -> Tree:
        """Eigenpairs of the weighted sum of what each of them stands for, as many as are kept."""
        vectors = statistics[0]["vectors"]
        backend, n = cv.backend_of(vectors), int(vectors.shape[0])
        xp = backend.xp
        factor = xp.concat([part["vectors"] for part in statistics], axis=1)
        values = xp.concat([part["values"] * weight for part, weight in zip(statistics, weights, strict=True)])
        total = LowRank.of_product(factor, values, backend=backend)
        k = self.kept(backend, total.values, n)
        return {"vectors": total.vectors[:, :k], "values": total.values[:k]}


@dataclass(frozen=True)
class LowRankPlusDiagonalMethod(LowRankMethod):
    """F ≈ U_k Λ_k U_kᵀ + diag(F - U_k Λ_k U_kᵀ): the eigenpairs of ``low-rank``, and the right diagonal.

    The diagonal of what the eigenpairs leave stands for all of it, so the trace is right whatever the rank, where low rank
    alone takes the rest for zero. It is not negative where the matrix is positive semidefinite. Of GGN and Fishers the
    diagonal is exact, of other matrices their ``diagonal()``.

    The options are those of ``low-rank``; the error bounds of the rules hold for its low-rank part.
    """

    name: ClassVar[str] = "low-rank-plus-diagonal"

    def cost(self, layout: cv.Layout) -> cv.Cost | None:
        return low_rank_cost(self, layout, diagonal=True)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
