"""Which class an operator of a file has: found among the classes that are loaded, never imported on a file's behalf."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from typing import Any

from ..errors import UnknownKindError
from ..operators import Operator


def describe(kind: type[Operator]) -> dict[str, str]:
    """Class, module and author of a kind of operator, as they are written."""
    return {"class": kind.__qualname__, "module": kind.__module__, "written_by": _author(kind.__module__)}


def find(name: str, module: str, written_by: str) -> type[Operator]:
    """The class described: by its module and name, or, since authors move classes, by its package and name.

    Raises:
        UnknownKindError: if no such class, or more than one, is loaded.
    """
    package = module.partition(".")[0]
    named = [kind for kind in _subclasses(Operator) if kind.__qualname__ == name]
    exact = [kind for kind in named if kind.__module__ == module]
    if exact:
        return exact[-1]  # one that was defined again, in a notebook, stands for the earlier ones
    near = [kind for kind in named if kind.__module__.partition(".")[0] == package]
    if len(near) == 1:
        return near[0]
    if near:
        places = ", ".join(sorted(kind.__module__ for kind in near))
        raise UnknownKindError(
            f"the file holds an operator {name!r} of {module!r}, which is gone; there is one in each of {places}"
        )
    raise UnknownKindError(
        f"the file holds an operator of the kind {name!r}, written by {written_by}, which nothing imported here knows; "
        f"install that package and import {module!r} before loading"
    )


def _subclasses(base: type[Any]) -> Iterator[type[Operator]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _subclasses(kind)


def _author(module: str) -> str:
    """Distribution and version, or the package alone where nothing is installed under that name."""
    package = module.partition(".")[0]
    names = ["curvature"] if package == "curvature" else packages_distributions().get(package, [])
    if names:
        return f"{names[0]} {version(names[0])}"
    stated: Any = getattr(sys.modules.get(package), "__version__", None)
    return f"{package} {stated}" if isinstance(stated, str) else package
