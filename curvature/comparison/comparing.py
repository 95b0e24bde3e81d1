"""``compare``: several approximations of one matrix, measured side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from ..errors import DataError
from ..linalg.adaptive import keep
from ..linalg.progress import Meter, Progress
from ..operators import Operator
from .candidates import Candidate, candidates
from .dense import dense_of
from .estimated import Estimated
from .exactly import Exact
from .making import Made, Steps, make_all, median
from .number import Number
from .record import versions
from .result import Comparison, Row
from .setting import default_damping, describe, gradient_of

Array = Any

EXACT_PARAMETERS = 2000
"""Largest number of parameters for which the dense matrix is formed by default."""


def compare(
    matrix: Operator,
    methods: Any,
    *,
    damping: float | None = None,
    gradient: Any = None,
    exact: bool | None = None,
    probes: int = 16,
    examples: int = 256,
    repeats: int = 3,
    seed: int = 0,
    progress: Progress = None,
) -> Comparison:
    """How near several approximations A come to a matrix F, and what they cost; ``print`` the result.

    =================== ========================================================================== =======
    ``error``           ‖F - A‖ / ‖F‖ in the Frobenius norm                                        0 best
    ``cosine``          of the angle between (A + δI)⁻¹ g and the natural gradient (F + δI)⁻¹ g    1 best
    ``step_error``      the relative error of the former in the norm of F + δI                     0 best
    ``kl``              KL(N(0, (A + δI)⁻¹) ‖ N(0, (F + δI)⁻¹)) = ½ [tr((F + δI) (A + δI)⁻¹) - P   0 best
                        - log det(F + δI) + log det(A + δI)], in nats
    effective dimension tr A (A + δI)⁻¹, beside that of F
    time                to make it (statistics and ``build``), of the first solve and of another
    memory              bytes of the arrays that the operator holds
    =================== ========================================================================== =======

    For at most 2000 parameters all of it is in closed form, from dense matrices in float64. For more: ``curvature.certificate``
    for the error; conjugate gradients, preconditioned with the best approximation, for the natural gradient (its residual is
    stated, and makes an interval); random signs z, the same for all approximations, for tr((F + δI) (A + δI)⁻¹), and
    stochastic Lanczos quadrature for log det(F + δI). Estimates have 95 % confidence intervals. Where A + δI or F + δI is
    indefinite there is no divergence, and the cell says so.

    An operator whose ``solve`` is no inverse of its ``@`` (a truncated series) is judged by its ``solve`` in everything but the
    error. Every ``solve`` is that of the operator, (A + δI)⁻¹ exactly: factored damping is an option of a method.

    Args:
        matrix: ``curvature.Fisher(problem)``, or any symmetric operator.
        methods: names, classes or instances of approximations, operators that were made before (which then have no time of
            making), or a mapping of labels to such. One that cannot be made of this matrix becomes a row that says why.
        damping: δ; by default a hundredth of the mean eigenvalue tr F / P, or of the root mean square of the eigenvalues for a
            matrix that may be indefinite.
        gradient: g, a params tree or a vector (P,); by default that of the problem's loss.
        exact: whether to form dense matrices; by default for at most 2000 parameters.
        probes: number of random vectors z.
        examples: how many examples certificates draw, where the Gram matrix of all gradients is too large.
        repeats: rounds of timing; in each everything is made once, in random order. 0 times nothing.
        seed: of the probes, the draws and the order.
        progress: see ``curvature.linalg.Progress``.

    Raises:
        DataError: options that cannot be, or a matrix without a problem and no gradient.
        NotSymmetricError, ShapeError: if the matrix is not symmetric.
        UnknownApproximationError: no such name; says which there are.
        KeyboardInterrupt: with the rows that were finished as its attribute ``partial``, a ``Comparison``.

    Sources: for the divergence, Kullback and Leibler (1951); for the effective dimension, MacKay (1992).
    """
    _check(matrix, damping, probes, examples, repeats)
    chosen = candidates(matrix, methods)
    g = gradient_of(matrix, gradient)
    # Where nobody said how, the certificate may still be exact: from the Gram matrix of few gradients.
    certify = {"exact": None if exact is None else False, "examples": examples, "probes": max(probes, 3)}
    dense = matrix.shape[0] <= EXACT_PARAMETERS if exact is None else exact
    run = _Run(matrix, g, {"exact": dense, "probes": probes, "examples": examples, "repeats": repeats, "seed": seed})
    with Meter(progress) as meter:
        try:
            run.carry_out(chosen, damping, certify, Steps(meter, 3 + (3 + repeats) * len(chosen)))
        except KeyboardInterrupt as interrupt:
            keep(interrupt, run.result(interrupted=True) if run.rows else None)
            raise
    return run.result()


class _Run:
    """A comparison that is under way."""

    def __init__(self, matrix: Operator, gradient: Array, settings: dict[str, Any]) -> None:
        self.matrix, self.gradient, self.settings = matrix, gradient, settings
        self.rows: list[Row] = []
        self.gradients: list[float] = []
        self.reference: Exact | Estimated | None = None
        self.damping, self.rule = 0.0, ""

    def carry_out(self, chosen: Mapping[str, Candidate], damping: float | None, certify: dict[str, Any], tell: Steps) -> None:
        matrix, settings = self.matrix, self.settings
        tell("the matrix")
        dense = dense_of(matrix) if settings["exact"] else None
        self.damping, self.rule = (float(damping), "as given") if damping is not None else default_damping(matrix, dense)
        made, self.gradients = make_all(
            matrix,
            chosen,
            self.gradient,
            self.damping,
            repeats=settings["repeats"],
            seed=settings["seed"],
            tell=tell,
        )
        tell("the natural gradient")
        if dense is not None:
            self.reference = Exact(matrix, dense, self.gradient, self.damping)
        else:
            self.reference = self._estimated(made, certify, tell)
        for one in made.values():
            tell(f"measure {one.label}")
            self.rows.append(_row(one, self.reference, self.gradients))

    def _estimated(self, made: Mapping[str, Made], certify: dict[str, Any], tell: Steps) -> Estimated:
        options = {name: self.settings[name] for name in ("probes", "seed")}
        reference = Estimated(self.matrix, self.gradient, self.damping, certify=certify, **options)
        operators = []
        for one in made.values():
            if one.operator is not None:
                tell(f"error of {one.label}")
                reference.certified(one.operator)
                operators.append(one.operator)
        tell("the natural gradient")
        reference.solve(operators)
        return reference

    def result(self, *, interrupted: bool = False) -> Comparison:
        """What has been found until now."""
        reference = self.reference
        return Comparison(
            rows=tuple(self.rows),
            effective_dimension=Number.missing_cell() if reference is None else reference.effective_dimension,
            gradient_seconds=median(self.gradients),
            matrix=describe(self.matrix),
            parameters=self.matrix.shape[0],
            damping=self.damping,
            damping_rule=self.rule,
            exact=bool(self.settings["exact"]),
            residual=0.0 if reference is None else reference.residual,
            interrupted=interrupted,
            settings=self.settings,
            versions=versions(self.matrix.backend),
        )


def _row(made: Made, reference: Exact | Estimated, gradients: list[float]) -> Row:
    if made.operator is None:
        return Row(made.label, made.method, refused=made.refused)
    quality = reference.measure(made.operator)
    seconds, gradient = median(made.seconds), median(gradients)
    return Row(
        made.label,
        made.method,
        error=quality.error,
        cosine=quality.cosine,
        step_error=quality.step_error,
        kl=quality.kl,
        effective_dimension=quality.effective_dimension,
        seconds=seconds,
        gradients=None if seconds is None or not gradient else seconds / gradient,
        first_solve=median(made.first),
        solve=median(made.solve),
        bytes=made.bytes,
    )


def _check(matrix: Any, damping: Any, probes: Any, examples: Any, repeats: Any) -> None:
    if not isinstance(matrix, Operator):
        raise DataError(f"compare takes a curvature matrix such as curvature.Fisher(problem), got a {type(matrix).__name__}")
    matrix._require_symmetric("a comparison")
    if damping is not None and not (isinstance(damping, Real) and 0 < float(damping) < math.inf):
        raise DataError(f"damping is a finite number > 0, or None for a hundredth of the mean eigenvalue; got {damping!r}")
    for name, value, least in (("probes", probes, 2), ("examples", examples, 3), ("repeats", repeats, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise DataError(f"{name} is a whole number ≥ {least}, got {value!r}")
