"""How a command finds a problem: one that has a name, or one that a Python file defines."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from ..backend import Backend
from ..likelihoods import Categorical
from ..problem import Problem
from ..registry import backend as find_backend
from .training.data import load
from .training.network import perceptron
from .training.problems import BadInput, said_plainly

WIDTHS, EXAMPLES = (64, 20, 10), 500
"""The network on digits and how many of them it sees: 1510 parameters, so that the exact matrix is at hand."""


def load_problem(
    source: str, *, backend: str | None = None, device: str | None = None, dtype: str | None = None, seed: int = 0
) -> Problem:
    """The problem called ``source``, or the one that a Python file of that path defines.

    The file has a variable ``problem``: a ``curvature.Problem``, which is moved where a backend, a device or a dtype is given;
    or a function ``problem(backend)`` that returns one.

    Args:
        backend, device, dtype: by default numpy for a function (in float64 for "digits"), and where it is for a ``Problem``.
        seed: of the start and the choice of examples, where they are drawn here.

    Raises:
        BadInput: in one line, whatever is wrong: no file, no ``problem`` in it, an error in it, a backend that is not there.
    """
    with said_plainly():
        if source in PROBLEMS:
            return PROBLEMS[source](find_backend(backend or "numpy", device=device, dtype=dtype or "float64"), seed)
        found = _defined(_path(source))
        if isinstance(found, Problem):
            if backend is None and device is None and dtype is None:
                return found
            return found.to(backend or found.backend.name, device=device, dtype=dtype)
        return _called(found, find_backend(backend or "numpy", device=device, dtype=dtype), source)


def digits(backend: Backend, seed: int) -> Problem:
    """A 64-20-10 network with tanh on 500 handwritten digits, at random parameters."""
    if find_spec("sklearn") is None:
        raise BadInput("'digits' needs scikit-learn, which is not installed; run: pip install 'curvature[demo]'")
    data = load("digits", backend, seed)
    x, y = (array[:EXAMPLES, ...] for array in data.train)
    model = perceptron(backend, WIDTHS, seed)
    dtype = backend.dtype or "float64"
    params = model.space.unflatten([backend.asarray(leaf, dtype=dtype) for leaf in model.space.flatten(model.params)])
    return Problem((model.apply, params), Categorical(), (backend.asarray(x, dtype=dtype), y))


PROBLEMS: dict[str, Callable[[Backend, int], Problem]] = {"digits": digits}


def _path(source: str) -> Path:
    path = Path(source)
    if not path.is_file():
        known = ", ".join(map(repr, PROBLEMS))
        raise BadInput(
            f"there is no file {source!r}, and no problem of that name; give {known}, or a Python file that defines problem = "
            f"curvature.Problem(...)"
        )
    if path.suffix != ".py":
        raise BadInput(f"{source} is no Python file: a problem is defined in a file whose name ends in .py")
    return path


def _defined(path: Path) -> Any:
    """The variable ``problem`` of the file."""
    name = f"curvature_problem_{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses in the file look themselves up
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # as `python path` would: the file may import its neighbours
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise BadInput(f"{_place(path, error)}: {_said(error)}") from error
    finally:
        with suppress(ValueError):
            sys.path.remove(folder)
    return _variable(module, path)


def _variable(module: ModuleType, path: Path) -> Any:
    found = getattr(module, "problem", None)
    if isinstance(found, Problem) or callable(found):
        return found
    if found is not None:
        raise BadInput(f"{path}: problem is a {type(found).__name__}; make it a curvature.Problem, or a function of a backend")
    others = [name for name, value in vars(module).items() if isinstance(value, Problem)]
    hint = f"; it has {', '.join(others)}: call it problem" if others else ""
    raise BadInput(
        f"{path} defines no 'problem': give it a variable problem = curvature.Problem(...), or a function problem(backend)" + hint
    )


def _called(function: Any, backend: Backend, source: str) -> Problem:
    try:
        found = function(backend)
    except Exception as error:
        raise BadInput(f"{_place(Path(source), error)}: {_said(error)}") from error
    if not isinstance(found, Problem):
        raise BadInput(f"{source}: problem(backend) returned a {type(found).__name__}, not a curvature.Problem")
    return found


def _place(path: Path, error: BaseException) -> str:
    """The file, and the line in it where an error came from."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"{path}, line {error.lineno}"
    here = str(path.resolve())
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if str(Path(frame.filename).resolve()) == here]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def _said(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
