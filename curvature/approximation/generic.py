"""The open generic functions: ``estimate`` and ``build``, dispatched on our own types, and ``approximate`` on top."""

from __future__ import annotations

from typing import Any

from plum import AmbiguousLookupError

from ..backend import Backend
from ..errors import DataError, PluginConflictError, UnsupportedError
from ..operators import Operator, Partition, open_function
from ..problem import Layers, Structure
from ..registry import approximation as find_approximation
from ..registry import check_needs, load_extension
from ..trees import count, leaves
from .base import Approximation, refuse

Tree = Any


@open_function
def estimate(matrix: Operator, method: Approximation, backend: Backend) -> Any:
    """Statistics (a tree of arrays) from which ``build`` makes the approximation of ``matrix``.

    Add a method with ``@curvature.estimate.dispatch``; annotate (matrix type, method type, backend type).

    Raises:
        UnsupportedError: if no method is defined for this pair.
    """
    raise refuse(matrix, method)


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
        DataError: naming the statistic that is NaN or infinite.
    """
    backend = matrix.backend
    check_needs(method, backend.name, backend.capabilities)
    load_extension(method, backend.name)
    try:
        statistics = estimate(matrix, method, backend)
    except AmbiguousLookupError as error:
        raise _ambiguous("estimate", matrix, method, error) from error
    xp = backend.xp
    for position, array in enumerate(leaves(statistics)):
        if backend.is_abstract(array):
            continue
        if count(array) and not bool(xp.isfinite(xp.sum(array))) and bool(xp.any(~xp.isfinite(array))):
            raise DataError(
                f"statistic {position} of {type(method).__name__} is NaN or infinite: the parameters or data have grown out "
                f"of the range of {array.dtype}"
            )
    return statistics


def approximate(matrix: Any, method: Any, **options: Any) -> Operator:
    """The approximation of a curvature matrix: ``build(method, estimate(matrix, method), structure)``.

    Args:
        matrix: ``curvature.Fisher(problem)``, ``curvature.GGN(problem)``, …
        method: a name ("kfac"), a class or an instance, with ``options`` for the first two.

    Raises:
        UnknownApproximationError: no such name; says which there are.
        UnsupportedError: the method is not defined for this matrix.
    """
    chosen = as_method(method, **options)
    if not isinstance(matrix, Operator):
        raise DataError(f"approximate takes a curvature matrix such as curvature.Fisher(problem), got a {type(matrix).__name__}")
    matrix._require_square("an approximation")
    statistics = gather(matrix, chosen)
    problem = getattr(matrix, "problem", None)
    structure = problem.structure if problem is not None else _without_layers(matrix)
    try:
        operator: Operator = build(chosen, statistics, structure)
    except AmbiguousLookupError as error:
        raise _ambiguous("build", matrix, chosen, error) from error
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


__all__ = ["Structure", "approximate", "as_method", "build", "estimate", "gather"]
