"""PyTorch for curvature: its own derivatives and parameter uses, on CPU and CUDA."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from array_api_compat import is_torch_array

import curvature as cv
from curvature.backend import CAPABILITIES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .optimizer import NaturalGradient as NaturalGradient
    from .preconditioning import precondition as precondition

_LATER = {"NaturalGradient": "optimizer", "precondition": "preconditioning"}
"""What needs torch, and is imported when it is first asked for: name, module."""

_DERIVED = ("jit",)  # a function runs as it is unless torch.compile is asked for


@cv.hookimpl
def curvature_register_backends() -> list[cv.BackendSpec]:
    """PyTorch."""
    return [
        cv.BackendSpec(
            "torch",
            loader="curvature_torch.backend:TorchBackend",
            requires=("torch",),
            extra="torch",
            owns=is_torch_array,
            capabilities={name: cv.Claim(cv.Support.DERIVED if name in _DERIVED else cv.Support.NATIVE) for name in CAPABILITIES},
            probe="curvature_torch:why_not",
        )
    ]


@cv.hookimpl
def curvature_adapt_model(model: Any, output: Any) -> cv.Model | None:
    """A ``torch.nn.Module`` as a model: see ``curvature_torch.module.adapt``."""
    if "torch" not in sys.modules:  # then nobody has a module
        return None
    from .module import adapt

    return adapt(model, output)


def update(module: nn.Module, params: Mapping[str, Tensor]) -> None:
    """Write parameters, such as trained ones, into the ``torch.nn.Module`` that they came from, in place.

    ``params`` are all parameters of the module that require gradients, by name, as in ``curvature.as_model(module).params``.

    Raises:
        ModelError: names or shapes other than the module's.
    """
    from .module import update

    update(module, params)


def why_not() -> str | None:
    """Why an installed PyTorch cannot be used here, or None: its libraries may not suit the machine."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"importing torch raised {type(error).__name__}: {error}"
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    return None if version >= (2, 6) else f"torch {torch.__version__} is too old, 2.6 or later is needed"


def __getattr__(name: str) -> Any:  # and no __dir__: whoever looks for hooks would import torch
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
