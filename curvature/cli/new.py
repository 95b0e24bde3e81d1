"""``curvature new``: a project for an approximation or a backend of one's own, which conforms from the start."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any

import typer

from ..registry import backend_of, catalogue
from ..registry.names import fold
from ..registry.records import describe
from ..registry.references import installed
from .skeleton import rendered, write
from .training.problems import BadInput

BAD_INPUT = 2

STANDARD = ("asarray", "matmul", "permute_dims", "linalg", "float64", "isdtype")
"""What tells a namespace of the Array API standard from another module; the conformance suite asks for the rest."""

RESERVED = ("aux", "build", "con", "dist", "nul", "prn", "src", "test", "tests", "venv")
"""Folders that mean something else: to tools for packages, or to Windows."""

new = typer.Typer(help="Write a project for an approximation or a backend of your own.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the project, and the one to ask for, such as my-method.")]
Into = Annotated[Path, typer.Option(help="Folder in which the project's folder is made.")]


@new.command()
def approximation(name: Name, into: Into = Path()) -> None:
    """A package with an approximation of its own, which conforms: replace its two functions by yours.

    Exit codes: 0 written; 2 bad input, and nothing was written.
    """
    with _said_plainly():
        target = _target(name, into)
        _write(target, "approximation", _values(name))
    _print_what_next(target, f"curvature conform {name}  # the suite alone, as a table; also with --backend torch")


@new.command()
def backend(
    name: Name,
    into: Into = Path(),
    namespace: Annotated[str, typer.Option(help="Module that is a namespace of the Array API standard.")] = "array_api_strict",
) -> None:
    """A package that makes a backend of an Array API namespace, which conforms if the namespace does.

    Exit codes: 0 written; 2 bad input, and nothing was written.
    """
    with _said_plainly():
        target = _target(name, into)
        library = _library(namespace)
        requirement = next(iter(metadata.packages_distributions().get(library, ())), library).replace("_", "-")
        values = {"namespace": namespace, "library": library, "requirement": requirement}
        _write(target, "backend", _values(name) | values)
    if not installed(library):
        typer.echo(f"{library} is not installed here: install it before you test, or mend the name in {target}", err=True)
    _print_what_next(target, f"curvature conform {name}  # the suite alone, as a table")


def _print_what_next(target: Path, last: str) -> None:
    typer.echo(f'cd {shlex.quote(str(target))} && pip install -e ".[test]"')
    typer.echo("pytest  # your tests, and the conformance suite")
    typer.echo(last)


@contextmanager
def _said_plainly() -> Iterator[None]:
    try:
        yield
    except BadInput as error:
        typer.secho(f"curvature new: {error}", err=True, fg=typer.colors.RED)
        raise typer.Exit(BAD_INPUT) from None


def _values(name: str) -> dict[str, str]:
    module = _module(name)
    return {"name": name, "module": module, "class_name": _class_name(module), "version": metadata.version("curvature")}


def _class_name(module: str) -> str:
    return "".join(part.capitalize() for part in module.split("_"))


def _module(name: str) -> str:
    return name.replace("-", "_")


# What is refused ------------------------------------------------------------------------------------------------------


def _target(name: str, into: Path) -> Path:
    """The folder of the project, once everything about its name and place is in order."""
    _check_name(name)
    if not into.is_dir():
        raise BadInput(f"--into names a folder, and {str(into)!r} is none")
    target = into / name
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise BadInput(f"{str(target)!r} exists and is not an empty folder; choose another name or --into")
    return target


def _check_name(name: str) -> None:
    module = _module(name)
    parts = (module, _class_name(module), *module.split("_"))
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name) or any(map(iskeyword, parts)) or name in RESERVED:
        raise BadInput(
            f"{name!r} cannot name a distribution and a module: lower-case letters, digits and single dashes, a letter first, "
            "and no word that Python or a file system keeps for itself, such as 'my-method'"
        )
    known: tuple[tuple[str, catalogue.Catalogue[Any]], ...] = (
        ("a backend", catalogue.backends()),
        ("an approximation", catalogue.approximations()),
    )
    for noun, registered in known:
        for other in registered.names:
            if fold(other) == fold(name):
                origins = " and ".join(entry.plugin.origin for entry in registered.claims(other))
                raise BadInput(f"{name!r} is taken: {noun} of {origins} is called {other!r}; choose another name")
    if module in sys.stdlib_module_names or installed(module):
        raise BadInput(f"{name!r} would be the module {module!r}, and a module of that name is installed; choose another name")


def _library(namespace: str) -> str:
    """The top-level module of the arrays of a namespace; that of the namespace itself where it is not installed.

    Raises:
        BadInput: it is no name, no namespace, or another backend's.
    """
    if not all(part.isidentifier() and not iskeyword(part) for part in namespace.split(".")):
        raise BadInput(f"--namespace takes the name of a module, such as array_api_strict, got {namespace!r}")
    top = namespace.partition(".")[0]
    if not installed(top):
        return top
    try:
        xp = import_module(namespace)
        lacking = [member for member in STANDARD if not hasattr(xp, member)]
        array = None if lacking else xp.asarray([0.0])
        owner = None if lacking else backend_of(array)
    except Exception as error:
        raise BadInput(f"--namespace {namespace} cannot be used here: {describe(error)}") from error
    if owner is None:
        raise BadInput(f"{namespace} is no namespace of the Array API standard: it has no {', '.join(lacking)}")
    if owner.name in catalogue.backends().names:
        origin = catalogue.backends().find(owner.name).plugin.origin
        raise BadInput(
            f"arrays of {namespace} belong to the backend {owner.name!r} of {origin}, and can belong to one only; uninstall it, "
            "or name it in the environment variable CURVATURE_DISABLE_PLUGINS"
        )
    return type(array).__module__.partition(".")[0]


def _write(target: Path, kind: str, values: dict[str, str]) -> None:
    try:
        write(target, rendered(kind, values))
    except OSError as error:
        raise BadInput(f"{str(target)!r} cannot be written, and nothing was: {describe(error)}") from error
