"""``curvature compare``: approximations of one matrix, side by side."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ..approximation import as_method
from ..comparison import Comparison
from ..comparison.comparing import compare as compare_approximations
from ..comparison.plot import SUFFIXES
from ..comparison.table import text
from ..errors import CurvatureWarning
from ..matrices import GGN, EmpiricalFisher, Fisher, Hessian, MonteCarloFisher
from ..problem import Problem
from ..registry import approximations
from ..registry.methods import REQUIRED
from .problem_file import load_problem
from .training.problems import BadInput, said_plainly

BAD_INPUT, INTERRUPTED = 2, 130

LEFT_OUT = ("exact",)
"""Not among the approximations that are compared where none is named: it is the matrix itself."""


class MatrixKind(StrEnum):
    """Which matrix is approximated."""

    fisher = "fisher"
    ggn = "ggn"
    empirical = "empirical"
    monte_carlo = "monte-carlo"
    hessian = "hessian"


class FloatingType(StrEnum):
    """Precision of the problem."""

    float64 = "float64"
    float32 = "float32"


MATRICES: dict[MatrixKind, Callable[[Problem, int], Any]] = {
    MatrixKind.fisher: lambda problem, seed: Fisher(problem),
    MatrixKind.ggn: lambda problem, seed: GGN(problem),
    MatrixKind.empirical: lambda problem, seed: EmpiricalFisher(problem),
    MatrixKind.monte_carlo: lambda problem, seed: MonteCarloFisher(problem, seed=seed),
    MatrixKind.hessian: lambda problem, seed: Hessian(problem),
}


def compare(
    problem: Annotated[
        str, typer.Argument(metavar="PROBLEM", help="digits, or a Python file that defines a curvature.Problem called problem.")
    ],
    methods: Annotated[
        list[str] | None,
        typer.Argument(metavar="[METHOD]...", help="Approximations; `curvature list` shows them.", show_default="all but exact"),
    ] = None,
    matrix: Annotated[MatrixKind, typer.Option(help="What is approximated.")] = MatrixKind.fisher,
    damping: Annotated[float | None, typer.Option(help="δ of all inverses.", show_default="0.01 × mean eigenvalue")] = None,
    backend: Annotated[
        str | None, typer.Option(help="Array library; `curvature list` shows them.", show_default="numpy, or the problem's")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device of the backend, such as cuda.", show_default="its own")] = None,
    dtype: Annotated[FloatingType | None, typer.Option(help="Precision.", show_default="float64, or the problem's")] = None,
    exact: Annotated[
        bool | None,
        typer.Option("--exact/--estimated", help="From the dense matrix, or from probes.", show_default="exact if P ≤ 2000"),
    ] = None,
    probes: Annotated[int, typer.Option(min=2, help="Random vectors of an estimate.")] = 16,
    repeats: Annotated[int, typer.Option(min=0, help="How often each is made for its time.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is drawn.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write all figures here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a figure here: .png, .pdf or .svg.")] = None,
) -> None:
    """How near do these approximations come to the matrix of a problem, and what do they cost?

    Prints a table: relative Frobenius error, cosine and relative error of the natural gradient, Kullback-Leibler divergence of
    the Gaussians with these inverses as covariances, effective dimension; time to make each, time of a solve, memory. Exact for
    small models, otherwise estimated with 95 % intervals.

    Exit status: 0 done; 1 the results could not be written; 2 the arguments cannot be; 130 interrupted.
    """
    console, errors = Console(), Console(stderr=True)
    try:
        names = _names(methods)
        _check_output(json, (".json", ".md"), "--json")
        _check_output(plot, SUFFIXES, "--plot")
        if plot is not None and find_spec("matplotlib") is None:
            raise BadInput("--plot needs matplotlib, which is not installed; run: pip install 'curvature[plot]'")
        chosen = None if dtype is None else dtype.value
        found = load_problem(problem, backend=backend, device=device, dtype=chosen, seed=seed)
        options: dict[str, Any] = {"damping": damping, "exact": exact, "probes": probes, "repeats": repeats, "seed": seed}
        with warnings.catch_warnings(record=True) as said, said_plainly():
            warnings.simplefilter("always", CurvatureWarning)
            comparison = compare_approximations(MATRICES[matrix](found, seed), names, **options)
    except BadInput as error:
        errors.print(Text(f"curvature compare: {error}", style="red"), soft_wrap=True)
        raise typer.Exit(BAD_INPUT) from error
    except KeyboardInterrupt as interrupt:
        partial = getattr(interrupt, "partial", None)
        if partial is not None:
            _conclude(partial, console, errors, json, plot)
        errors.print("curvature compare: interrupted")
        raise typer.Exit(INTERRUPTED) from None
    for message in dict.fromkeys(str(warning.message) for warning in said):
        errors.print(Text(f"note: {message}", style="dim"), soft_wrap=True)
    _conclude(comparison, console, errors, json, plot)


def _names(methods: list[str] | None) -> list[str]:
    """The approximations that are compared; names that nobody registered are refused before anything else is done."""
    if not methods:
        found = [info for info in approximations() if info.status == "usable" and info.name not in LEFT_OUT]
        return [info.name for info in found if REQUIRED not in info.options.values()]
    names = list(dict.fromkeys(methods))
    for name in names:
        with said_plainly():
            try:
                as_method(name)
            except TypeError as error:  # an option without a default
                raise BadInput(str(error)) from error
    return names


def _check_output(path: Path | None, endings: tuple[str, ...], option: str) -> None:
    """Say before the work, not after it, that its result cannot be written."""
    if path is None:
        return
    if path.suffix not in endings:
        raise BadInput(f"{option} {path}: the name ends in {' or '.join(endings)}")
    try:
        existed = path.exists()
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise BadInput(f"{option}: cannot write to {path}: {error.strerror}") from error


def _conclude(comparison: Comparison, console: Console, errors: Console, json: Path | None, plot: Path | None) -> None:
    console.print(Text(text(comparison, console.width)), soft_wrap=True)
    try:
        if json is not None:
            comparison.save(json)
        if plot is not None and any(not row.refused for row in comparison.rows):
            comparison.plot(plot)
    except OSError as error:
        errors.print(Text(f"curvature compare: the results could not be written: {error}", style="red"), soft_wrap=True)
        raise typer.Exit(1) from error
    written = [str(path) for path in (json, plot) if path is not None]
    if written:
        console.print(Text(f"\nwrote {' and '.join(written)}"), soft_wrap=True)
