"""What a plugin may answer: the hooks of the library, all called with keywords.

A plugin is an object (most often a module) with functions marked ``@curvature.hookimpl``, found through an entry
point of the group ``curvature``. Importing it must import no array framework: what is heavy is named by a loader
("module:attribute") and imported when it is used. An implementation takes those of the arguments that it needs.

``api`` is the version (major, minor) of this interface. Within one major version hooks, arguments and optional
fields are added and nothing is taken away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from .registry.specs import ApproximationSpec, BackendSpec

PROJECT = "curvature"
"""Name of the entry-point group and of the pluggy project."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def curvature_register_backends(api: tuple[int, int]) -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """The array libraries that this plugin adds."""


@hookspec
def curvature_register_approximations(api: tuple[int, int]) -> Iterable[ApproximationSpec]:  # type: ignore[empty-body]
    """The approximations that this plugin adds."""


@hookspec(firstresult=True)
def curvature_adapt_model(model: Any, output: Any) -> Any:
    """A ``curvature.Model`` for a model of some framework, or None if this plugin does not know it.

    ``output`` says which part of what the model returns is meant: see ``curvature.as_model``.

    Called with whatever the user gave, so an implementation must recognise its own without importing its framework
    (``"torch" in sys.modules`` is the usual first question).
    """


@hookspec(firstresult=True)
def curvature_register_tree_node(node: Any) -> bool | None:
    """Make trees go into containers of a framework, or answer None if ``node`` is none that this plugin knows.

    Called with a leaf of a parameter tree that is no array. An implementation registers the container's class with optree
    in the namespace ``curvature.trees.NAMESPACE`` and answers True. It must import no framework.
    """


@hookspec
def curvature_conformance_scenarios(api: tuple[int, int], subject: str) -> Iterable[Any]:  # type: ignore[empty-body]
    """Scenarios that the conformance suite runs besides its own.

    ``subject`` is the name of what is tested, "" where several backends are compared: a scenario that says nothing about
    others is given for its subject alone.
    """


@hookspec
def curvature_conformance_theorems(subject: str) -> Iterable[Any]:  # type: ignore[empty-body]
    """``curvature_conformance.Exact`` about the approximation ``subject``: where it is exact, and where it cannot be."""


@hookspec
def curvature_conformance_expectations(subject: str) -> Iterable[Any]:  # type: ignore[empty-body]
    """Declared gaps, with reasons, of the backend or approximation called ``subject``."""


@hookspec
def curvature_conformance_environment(backend: str, device: Any) -> Mapping[str, str] | None:
    """Environment variables for the suite's worker processes on ``backend``, or None: what must be set before a framework is
    imported, such as flags that make it compile faster. What the user has set stays. Nothing may depend on them for being right.
    """


@hookspec
def curvature_training_step(event: Any) -> None:
    """Called after every step of ``curvature.fit``: progress, logging, early stop."""
