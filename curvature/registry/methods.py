"""An approximation by name: an instance of its method, with its options."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from ..errors import PluginLoadError
from . import catalogue, status
from .catalogue import Catalogue, Entry
from .names import did_you_mean
from .references import load
from .specs import ApproximationSpec


@dataclass(frozen=True)
class ApproximationInfo:
    """One approximation.

    Attributes:
        name: the name to ask for.
        distribution: the distributions that registered it (one, unless they are in conflict).
        version: version of that distribution.
        options: option → default, ``REQUIRED`` where it has none.
        status: "usable", "broken", "incompatible" or "conflict".
        reason: why it is not usable; "" where it is.
        summary: first line of its docstring.
    """

    name: str
    distribution: str
    version: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    status: str = "usable"
    reason: str = ""
    summary: str = ""


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()
"""Stands for the default of an option that has none."""


def approximation(name: str, **options: Any) -> Any:
    """The method called ``name``, with the given options and defaults for the others.

    Raises:
        UnknownApproximationError: nobody registered the name; the message lists those that are.
        TypeError: it has no such option, or one without a default was not given.
        PluginLoadError, IncompatiblePluginError, PluginConflictError: its plugin is at fault.
    """
    known = catalogue.approximations()
    method = method_class(known, known.find(name))
    accepted = options_of(method)
    for option in options:
        if option not in accepted:
            listed = ", ".join(accepted) or "none"
            raise TypeError(
                f"approximation {name!r} has no option {option!r}{did_you_mean(option, accepted)} (options: {listed})"
            )
    absent = [option for option, default in accepted.items() if default is REQUIRED and option not in options]
    if absent:
        raise TypeError(f"approximation {name!r} needs the option {' and '.join(map(repr, absent))}")
    return method(**options)


def approximations() -> list[ApproximationInfo]:
    """Every registered approximation; it never raises."""
    known = catalogue.approximations()
    return [_info(known, name) for name in known.names]


def method_class(known: Catalogue[ApproximationSpec], entry: Entry[ApproximationSpec]) -> type:
    """The class that the entry's loader names."""
    name = entry.spec.name
    if name not in known.loaded:
        value = load(entry.spec.loader, entry.plugin, f"approximation {name!r}")
        if not (isinstance(value, type) and dataclasses.is_dataclass(value)):
            raise PluginLoadError(
                f"approximation {name!r} of {entry.plugin.origin} is loaded from {entry.spec.loader!r}, "
                f"which is not a dataclass but {value!r}"
            )
        known.loaded[name] = value
    method: type = known.loaded[name]
    return method


def options_of(method: type) -> dict[str, Any]:
    """Option → default of a method, in the order of its fields."""
    return {f.name: _default(f) for f in dataclasses.fields(method) if f.init}


def _default(option: dataclasses.Field[Any]) -> Any:
    if option.default is not dataclasses.MISSING:
        return option.default
    return REQUIRED if option.default_factory is dataclasses.MISSING else option.default_factory()


def _info(known: Catalogue[ApproximationSpec], name: str) -> ApproximationInfo:
    distribution = status.owners(known, name)
    version = known.claims(name)[0].plugin.version
    try:
        method = method_class(known, known.find(name))
        options = options_of(method)
    except Exception as error:
        stand, why = status.fault(error), status.reason(error)
        return ApproximationInfo(name, distribution, version, status=stand, reason=why)
    return ApproximationInfo(name, distribution, version, options, summary=_summary(method))


def _summary(method: type) -> str:
    text = (method.__doc__ or "").strip()
    generated = text.startswith(f"{method.__name__}(")  # the signature that dataclass writes where there is none
    return "" if generated or not text else text.splitlines()[0].strip()
