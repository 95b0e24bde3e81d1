"""Parameters that modules hold themselves, which must not enter beside those that the model is called with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

import curvature as cv

from .support import nodes_below

_originals: WeakIdKeyDictionary = WeakIdKeyDictionary()


def remember(named: Iterable[tuple[str, Tensor]]) -> None:
    """These are parameters of a module that was made a model."""
    for name, parameter in named:
        _originals[parameter] = name


def refuse_originals(outputs: Sequence[Tensor]) -> None:
    """Refuse a graph that ends in a parameter of a module itself rather than in the one that was put in its place.

    Its part of the derivative would be missing without a word.

    Raises:
        ModelError: naming the parameter.
    """
    for node in nodes_below(outputs):
        variable = getattr(node, "variable", None)
        if variable is not None and variable in _originals:
            raise cv.ModelError(
                f"parameter {_originals[variable]!r} is reached by a way that torch.func.functional_call does not follow (an "
                f"attribute or list that holds it once more), so derivatives would leave that use out; share it as a "
                f"submodule or a parameter of the module"
            )
