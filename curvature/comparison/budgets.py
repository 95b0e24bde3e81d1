"""Which approximations a budget leaves out, and the smallest budget that would do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

from ..approximation import Layout, approximate
from ..errors import UnsupportedError
from ..matrices import CurvatureMatrix
from .subsets import subset
from .suggestion import Option
from .table import seconds, size


def excluded(option: Option, memory: float | None, time: float | None) -> Option:
    """The option, left out where it is over the budget."""
    if option.excluded:
        return option
    over = []
    if memory is not None and option.bytes is not None and option.bytes > memory:
        over.append(f"needs {size(option.bytes)}")
    if time is not None and option.seconds is not None and option.seconds > time:
        over.append(f"takes {seconds(option.seconds)}")
    return replace(option, excluded=" and ".join(over))


def too_small(
    matrix: CurvatureMatrix,
    layout: Layout,
    options: Sequence[Option],
    memory: float | None,
    time: float | None,
    seed: int,
) -> str:
    """What is said where nothing fits: the smallest and the quickest of those that can be made."""
    known = [option for option in options if option.bytes is not None and option.seconds is not None]
    found = []
    for metric in ("bytes", "seconds"):
        known.sort(key=attrgetter(metric))
        found += [option for option in known if not _refusal(matrix, layout, option, seed)][:1]
    if not found:
        return "no approximation can be made of this matrix: " + "; ".join(f"{o.label}: {o.excluded}" for o in options)
    smallest, quickest = found
    wanted = [f"the smallest, {smallest.label!r}, needs {_needs(smallest)}"]
    if quickest is not smallest:
        wanted.append(f"the quickest, {quickest.label!r}, {_needs(quickest)}")
    budget = [] if memory is None else [f"memory={size(memory)}"]
    budget += [] if time is None else [f"time={seconds(time)}"]
    return f"no approximation fits {' and '.join(budget) or 'the matrix'}: {'; '.join(wanted)}"


def _needs(option: Option) -> str:
    """Both numbers, in units that can be given back as a budget."""
    return f"memory={option.bytes} bytes and time={option.seconds:.2g} s"


def tried(matrix: CurvatureMatrix, layout: Layout, options: Sequence[Option], seed: int) -> list[Option]:
    """Those that are refused on two examples are left out, and have no cost."""
    found = []
    for option in options:
        why = "" if option.excluded else _refusal(matrix, layout, option, seed)
        found.append(replace(option, bytes=None, seconds=None, excluded=f"refused: {why}") if why else option)
    return found


def _refusal(matrix: CurvatureMatrix, layout: Layout, option: Option, seed: int) -> str:
    """Why a method cannot be made of this matrix; "" if it can, as far as two examples show."""
    if option.how == "measured":
        return ""
    two = matrix.at(subset(matrix.problem, layout.examples, 2, seed))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            approximate(two, option.method)
    except UnsupportedError as error:
        return str(error)
    return ""
