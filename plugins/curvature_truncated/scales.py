"""The scale of a Neumann series from the ends of the spectrum, and what is said where it does not converge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import curvature as cv

from .neumann_method import Neumann
from .progress import Progress
from .spectrum import Extremes


@dataclass(frozen=True)
class Scales:
    """What is known when the scale of P A is chosen, A = F + damping·I.

    Attributes:
        method: the options.
        found: the ends of the spectrum of P A.
        damping: λ.
        preconditioned: whether there is a P.
        eps: of the dtype.
    """

    method: Neumann
    found: Extremes
    damping: float
    preconditioned: bool
    eps: float

    @property
    def what(self) -> str:
        """What has these eigenvalues."""
        return "the preconditioned matrix" if self.preconditioned else "the matrix"

    def choose(self) -> float:
        """a.

        Raises:
            NotPositiveDefiniteError: if an eigenvalue is negative.
            SingularMatrixError: if the scale asked for converges for no singular matrix, and this one is.
            ConvergenceError: if the scale that was given makes the series diverge.
        """
        found, rule = self.found, self.method.scale
        tiny = 1e3 * self.eps * max(abs(found.smallest), abs(found.largest))
        if found.smallest < -tiny:
            raise self._indefinite(f"{self.what} has an eigenvalue of {found.smallest:.3g} or below", found.smallest)
        if found.largest <= 0:
            raise cv.SingularMatrixError(f"{self.what} is zero, and has no inverse; any damping would do")
        if rule == "monotone" or (rule == "auto" and self.method.order != "auto"):
            return 1.0 / found.bound
        if rule == "auto":
            # No slower than the fastest by more than a tenth, right for what lies in the range of a singular matrix, and it
            # converges though the largest eigenvalue be a tenth above what was measured.
            return 2.0 / (max(found.smallest, 0.1 * found.bound) + found.bound)
        if rule == "fastest":
            if found.smallest <= tiny:
                raise cv.SingularMatrixError(
                    f"{self.what} is singular to working precision, so that 2/(λ_min + λ_max) is no scale that converges; a "
                    f"damping of {max(1e3 * tiny, 1e-30):.1g} or more would do, or scale='auto'"
                )
            return 2.0 / (found.smallest + found.bound)
        return self._checked(float(rule))

    def _checked(self, a: float) -> float:
        found = self.found
        if a * found.largest < 2:
            return a
        raise cv.ConvergenceError(
            f"the Neumann series with scale {a:.3g} diverges: the largest eigenvalue of {self.what} is {found.largest:.4g}, so "
            f"‖I - aA‖ is {a * found.largest - 1:.3g}; a scale below {2 / found.bound:.3g} converges, {1 / found.bound:.3g} does "
            f"so monotonically, and scale='auto' finds it"
        )

    def _indefinite(self, why: str, eigenvalue: float) -> cv.NotPositiveDefiniteError:
        remedy = "a larger damping" if self.preconditioned else f"a damping above {self.damping - eigenvalue:.3g}"
        return cv.NotPositiveDefiniteError(f"{why}: a Neumann series diverges whatever its scale; {remedy} would do")

    def grown(self, order: int, growth: float, a: float) -> cv.ConvergenceError:
        """What is said where residuals have grown although no eigenvalue that was measured explains it."""
        return cv.ConvergenceError(
            f"the Neumann series of {order} terms and scale {a:.3g} diverges: residuals have grown by a factor of {growth:.3g}; "
            f"a smaller scale would do, or a larger damping if the matrix has negative eigenvalues"
        )

    def not_reached(self, progress: Progress) -> cv.CurvatureError:
        """What is said where an automatic order did not reach its tolerance."""
        a, tolerance = progress.goal.scale, progress.goal.tolerance
        if progress.diverges and a * self.found.bound >= 2:
            return self.grown(progress.terms, progress.energy**0.5, a)
        if progress.diverges:
            # |1 - a λ| is the rate, and a λ < 2.
            return self._indefinite(f"the Neumann series diverges after {progress.terms} terms", (1 - progress.rate) / a)
        most, bound = self.method.max_order, self.found.bound
        needed = f"{progress.foretold:.3g} terms or more" if progress.foretold < math.inf else "infinitely many terms"
        message = (
            f"the Neumann series needs {needed} for a tolerance of {tolerance:.2g}, more than max_order={most}: after "
            f"{progress.terms} terms each one reduces the error by a factor of {min(progress.rate, 1.0):.6f} only"
        )
        enough = -bound * math.log(tolerance) / most
        remedies = ["a preconditioner such as 'kfac'", "a larger tolerance or a given order", "'conjugate-gradients'"]
        if not self.preconditioned and enough > self.damping:
            remedies.insert(0, f"a damping of {enough:.2g}")
        return cv.ConvergenceError(f"{message}; {', '.join(remedies)} would do")
