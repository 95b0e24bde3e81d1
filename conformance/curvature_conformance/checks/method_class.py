"""An approximation as a class of options."""

from __future__ import annotations

import dataclasses

import curvature as cv

from ..checklist import CONTRACT, check
from ..failures import expect
from ..setting import Setting


@check("method", "method", source=CONTRACT)
def a_frozen_dataclass(setting: Setting) -> None:
    """A method is an immutable dataclass of options, equal to another with the same options, and can be made from its class."""
    method = setting.approximation
    kind = type(method)
    parameters = getattr(kind, "__dataclass_params__", None)
    expect(isinstance(method, cv.Approximation), "the method", repr(kind), formula="a subclass of curvature.Approximation")
    expect(
        parameters is not None and parameters.frozen,
        f"{kind.__name__}",
        "not a frozen dataclass",
        formula="@dataclass(frozen=True): options cannot change under an optimiser's feet",
    )
    assert method is not None
    same = dataclasses.replace(method)  # type: ignore[type-var]
    expect(same == method, "dataclasses.replace(method)", repr(same), formula=repr(method))
