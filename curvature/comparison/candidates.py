"""What is compared, by label: methods that are yet to be applied, and operators that are there already."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ..approximation import Approximation, as_method
from ..errors import DataError, MixedBackendError, ShapeError
from ..operators import Operator

Candidate = Approximation | Operator


def candidates(matrix: Operator, methods: Any) -> dict[str, Candidate]:
    """{label: method or operator} of names, classes, instances and operators; of a mapping the labels are its keys.

    Raises:
        UnknownApproximationError: no such name; says which there are.
        DataError: nothing to compare, or two of one label.
        ShapeError, MixedBackendError: an operator that cannot stand for the matrix.
    """
    if isinstance(methods, (str, type, Approximation, Operator)):
        methods = [methods]
    if isinstance(methods, Mapping):
        pairs = [(str(label), _candidate(given)) for label, given in methods.items()]
    elif isinstance(methods, Iterable):
        pairs = [(label_of(found), found) for found in map(_candidate, methods)]
    else:
        raise DataError(f"compare takes a list of approximations, or a mapping of labels to them; got {methods!r}")
    if not pairs:
        raise DataError("there is nothing to compare: give one approximation or more, such as ['kfac', 'diagonal']")
    found: dict[str, Candidate] = {}
    for label, one in pairs:
        if label in found:
            raise DataError(f"two approximations are called {label!r}; give a mapping of labels of your own, {{label: method}}")
        if isinstance(one, Operator):
            _check(label, one, matrix)
        found[label] = one
    return found


def _candidate(given: Any) -> Candidate:
    return given if isinstance(given, Operator) else as_method(given)


def _check(label: str, operator: Operator, matrix: Operator) -> None:
    if operator.shape != matrix.shape:
        raise ShapeError(f"{label!r} has shape {operator.shape} and is no approximation of a matrix of shape {matrix.shape}")
    if operator.backend.name != matrix.backend.name or operator.dtype != matrix.dtype:
        raise MixedBackendError(
            f"{label!r} is of {operator.dtype} on {operator.backend.name!r}, the matrix of {matrix.dtype} on "
            f"{matrix.backend.name!r}; move it with .to(backend)"
        )
    operator._require_symmetric(f"comparing {label!r}")


def label_of(candidate: Candidate) -> str:
    """The name, and the options that are not the defaults: ``kfac(sharing='reduce')``."""
    if isinstance(candidate, Operator):
        return candidate.structure
    name = type(candidate).name or type(candidate).__name__
    given: Any = candidate
    options = []
    for field in dataclasses.fields(given) if dataclasses.is_dataclass(given) else ():
        value = getattr(candidate, field.name)
        if field.repr and not _is_default(field, value):
            options.append(f"{field.name}={value!r}")
    return f"{name}({', '.join(options)})" if options else name


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return default is not dataclasses.MISSING and type(default) is type(value) and bool(default == value)
