"""The open generic functions: ``estimate`` and ``build``, dispatched on our own types, and ``approximate`` on top."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from typing import Any

from plum import AmbiguousLookupError

from ..backend import Backend
from ..errors import DataError, PluginConflictError, UnsupportedError
from ..operators import Operator, Partition, open_function
from ..problem import Layers, Structure
from ..registry import approximation as find_approximation
from ..registry import check_needs, load_extension
from .base import Approximation, refuse
from .certificate import Certificate
from .certify import certificate
from .sweeps import Sweep, driven, finite_message, not_finite

Tree = Any


@open_function
def _estimate(matrix: Operator, method: Approximation, backend: Backend) -> Any:
    raise refuse(matrix, method)


class Estimate:
    """``estimate(matrix, method, backend)``: statistics (a tree of arrays) from which ``build`` makes the approximation.

    Add a method with ``@curvature.estimate.dispatch``; annotate (matrix type, method type, backend type). It returns the
    statistics, or it is a generator: what it yields is a function of an ``Evaluation`` (``matrix.of_layers(...)``, most
    often), what it is sent is the average of that over the data, and what it returns is the statistics. Several methods that
    are asked for together then share their passes over the data.

    Raises:
        UnsupportedError: if no method is defined for this pair.
    """

    def __call__(self, matrix: Operator, method: Approximation, backend: Backend) -> Tree:
        return driven(matrix, [self.steps(matrix, method, backend)])[0]

    def steps(self, matrix: Operator, method: Approximation, backend: Backend) -> Generator[Any, Any, Tree]:
        """The same for one method of ``estimate`` that needs another's statistics: ``yield from`` it, and the passes over the
        data are shared.

        Raises:
            UnsupportedError: if no method is defined for this pair, or the backend lacks what it needs.
        """
        check_needs(method, backend.name, backend.capabilities)
        load_extension(method, backend.name)
        try:
            answer = _estimate(matrix, method, backend)
        except AmbiguousLookupError as error:
            raise _ambiguous("estimate", matrix, method, error) from error
        return (yield from answer) if isinstance(answer, Generator) else answer

    dispatch = staticmethod(_estimate.dispatch)


estimate = Estimate()


@open_function
def build(method: Approximation, statistics: Any, structure: Any) -> Operator:
    """The operator that ``statistics`` stand for. Add a method with ``@curvature.build.dispatch``.

    Args:
        structure: parameters, backend and layers (``curvature.problem.Structure``).
    """
    raise NotImplementedError(f"{type(method).__name__} gives no curvature.build method")


def as_method(method: Any, **options: Any) -> Approximation:
    """A method from its name, its class or itself."""
    if isinstance(method, str):
        found = find_approximation(method, **options)
    elif isinstance(method, type):
        found = method(**options)
    elif options:
        raise DataError(f"options {sorted(options)} were given beside {method!r}, which has its own; use dataclasses.replace")
    else:
        found = method
    if not isinstance(found, Approximation):
        raise DataError(f"an approximation is a name or a curvature.Approximation, got {found!r}")
    return found


def gather(matrix: Any, method: Approximation) -> Tree:
    """``estimate`` with the checks around it: the plugin's part for this backend is loaded, the statistics are finite.

    Raises:
        DataError: naming the statistic, and the batch where it is known, that is NaN or infinite.
    """
    return gather_all(matrix, [method])[0]


def gather_all(matrix: Any, methods: Sequence[Approximation], sweep: Sweep | None = None) -> list[Tree]:
    """``gather`` of several methods that share their passes over the data."""
    backend = matrix.backend
    for method in methods:
        check_needs(method, backend.name, backend.capabilities)  # of all, before the first of them takes long
    statistics = driven(matrix, [estimate.steps(matrix, method, backend) for method in methods], sweep)
    for method, values in zip(methods, statistics, strict=True):
        name = not_finite(backend, values)
        if name:
            raise DataError(finite_message(f"{type(method).__name__}: {name}", matrix.dtype))
    return statistics


def approximate(matrix: Any, method: Any, *, certify: bool = False, **options: Any) -> Any:
    """The approximation of a curvature matrix: ``build(method, estimate(matrix, method), structure)``.

    Args:
        matrix: ``curvature.Fisher(problem)``, ``curvature.GGN(problem)``, …
        method: a name ("kfac"), a class or an instance, with ``options`` for the first two; or a list of them, which share
            their passes over the data: then the result is a list of operators.
        certify: find out at once how far the approximation is from the matrix, with what the statistics took: then
            ``operator.certificate()`` costs nothing more.

    Raises:
        UnknownApproximationError: no such name; says which there are.
        UnsupportedError: the method is not defined for this matrix.
        DataError: the statistics are NaN or infinite; says which, and of which batch.
    """
    several = isinstance(method, (list, tuple))
    if several and options:
        listed = sorted(options)
        raise DataError(f"options {listed} beside several methods: give each its own, curvature.approximation(name, ...)")
    chosen = [as_method(one) for one in method] if several else [as_method(method, **options)]
    if not isinstance(matrix, Operator):
        raise DataError(f"approximate takes a curvature matrix such as curvature.Fisher(problem), got a {type(matrix).__name__}")
    matrix._require_square("an approximation")
    with _passes(matrix) if certify else nullcontext(None) as sweep:
        gathered = gather_all(matrix, chosen, sweep)
        structure = structure_of(matrix)
        operators = [built(one, statistics, structure) for one, statistics in zip(chosen, gathered, strict=True)]
        for operator in operators:
            known = certificate(operator, matrix, sweep=sweep) if certify else None
            operator._certify = _certifier(matrix, known)
    return operators if several else operators[0]


def _passes(matrix: Operator) -> Any:
    return Sweep(matrix) if hasattr(matrix, "problem") else nullcontext(None)


def _certifier(matrix: Operator, known: Certificate | None) -> Callable[..., Certificate]:
    """What ``operator.certificate`` calls."""

    def certify(operator: Operator, **options: Any) -> Certificate:
        if known is not None and not options:
            return known
        return certificate(operator, matrix, **options)

    return certify


def structure_of(matrix: Operator) -> Structure:
    """Parameters, backend and layers of a matrix, and the matrix itself."""
    problem = getattr(matrix, "problem", None)
    structure: Structure = problem.structure if problem is not None else _without_layers(matrix)
    return structure.of(matrix)


def built(method: Approximation, statistics: Tree, structure: Structure) -> Operator:
    """``build``, with an error that says what is meant where two plugins claim the same."""
    try:
        operator: Operator = build(method, statistics, structure)
    except AmbiguousLookupError as error:
        raise _ambiguous("build", structure.matrix, method, error) from error
    return operator


def _without_layers(matrix: Operator) -> Structure:
    """The structure of an operator that belongs to no problem: its parameters, if it knows any, and no layers."""

    def find() -> Layers:
        raise UnsupportedError(
            f"a {type(matrix).__name__} belongs to no problem, so it has no layers; approximate a matrix such as "
            f"curvature.Fisher(problem)"
        )

    space = matrix.space if matrix.space is not None else Partition.contiguous([matrix.shape[0]]).space
    return Structure(space, matrix.backend, find)


def _ambiguous(function: str, matrix: Any, method: Any, error: Exception) -> PluginConflictError:
    return PluginConflictError(
        f"several methods of curvature.{function} fit ({type(matrix).__name__}, {type(method).__name__}) equally well; one of "
        f"them claims too much, so that its own types do not name its method: {error}"
    )


__all__ = ["Structure", "approximate", "as_method", "build", "built", "estimate", "gather", "gather_all", "structure_of"]
