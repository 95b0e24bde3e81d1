"""The state of a ``curvature_torch.NaturalGradient`` in files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

import curvature as cv
from curvature.trees import tree_map

from .followed import Followed

KEY = "curvature"
FORMAT = 1
NO_STATE = "this is no state of a curvature_torch.NaturalGradient; pass what its state_dict() returned"


def parameters(followed: Followed, groups: Iterable[Mapping[str, Any]]) -> list[list[list[Any]]]:
    """[name, shape, dtype] of every parameter of every group."""
    return [[[followed.name_of(p), list(p.shape), str(p.dtype)] for p in group["params"]] for group in groups]


def packed(named: list[list[list[Any]]], core: dict[str, Any] | None, *, without_loss: bool) -> dict[str, Any]:
    """What a state is besides torch's groups."""
    return {"format": FORMAT, "parameters": named, "without_loss": without_loss, "core": core}


def checked(state_dict: Any, named: list[list[list[Any]]]) -> dict[str, Any]:
    """What ``packed`` returned, if it fits these parameters.

    Raises:
        DataError: naming what differs.
    """
    found = state_dict.get("state", {}).get(KEY) if isinstance(state_dict, dict) else None
    if not isinstance(found, dict) or "format" not in found:
        raise cv.DataError(NO_STATE)
    if found["format"] != FORMAT:
        raise cv.DataError(f"this state has the format {found['format']}, of another version; this version reads {FORMAT}")
    theirs, ours = found["parameters"], named
    if len(theirs) != len(ours):
        raise cv.DataError(f"this state has {len(theirs)} parameter groups, the optimiser {len(ours)}; add the same groups first")
    for index, (there, here) in enumerate(zip(theirs, ours, strict=True)):
        for position in range(max(len(there), len(here))):
            a, b = (_described(one[position]) if position < len(one) else "nothing" for one in (there, here))
            if a != b:
                raise cv.DataError(
                    f"this state is of another model: parameter {position} of group {index} is {a} there and {b} here; build "
                    f"model and groups as they were"
                )
    return found


def core_of(found: Mapping[str, Any], device: torch.device) -> dict[str, Any] | None:
    """The core's part, on the device of the parameters."""
    moved: dict[str, Any] | None = tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, found["core"])
    return moved


def _described(parameter: list[Any]) -> str:
    name, shape, dtype = parameter
    return f"{name!r} {tuple(shape)} {dtype}"
