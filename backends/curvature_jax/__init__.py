"""JAX for curvature: its own derivatives, compiled; parameter uses from the jaxpr; models of Flax NNX and Equinox.

Modules come in through ``curvature.as_model(module)``; trained parameters go back with ``curvature_jax.update``. In an Optax
loop, ``curvature_jax.natural_gradient`` takes the place of another optimiser.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from array_api_compat import is_jax_array

import curvature as cv
from curvature.backend import CAPABILITIES

if TYPE_CHECKING:
    from .step_state import NaturalGradientState, StepReport
    from .transformation import natural_gradient, scale_by_natural_gradient

__all__ = ["NaturalGradientState", "StepReport", "as_model", "natural_gradient", "scale_by_natural_gradient", "update"]

_LATER = {
    "NaturalGradientState": "step_state",
    "StepReport": "step_state",
    "natural_gradient": "transformation",
    "scale_by_natural_gradient": "transformation",
}
"""What imports JAX, and so is imported when it is first asked for: name, module."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


@cv.hookimpl
def curvature_register_backends() -> list[cv.BackendSpec]:
    """JAX."""
    return [
        cv.BackendSpec(
            "jax",
            loader="curvature_jax.backend:JaxBackend",
            requires=("jax",),
            extra="jax",
            owns=is_jax_array,
            capabilities={name: cv.Claim(cv.Support.NATIVE) for name in CAPABILITIES},
            probe="curvature_jax:why_not",
        )
    ]


def why_not() -> str | None:
    """Why an installed JAX cannot be used here, or None."""
    try:
        import jax
    except (ImportError, OSError, RuntimeError) as error:  # jaxlib is missing, does not fit jax, or not the machine
        return f"importing jax raised {type(error).__name__}: {error}"
    version = tuple(int(part) for part in jax.__version__.split(".")[:2])
    return None if version >= (0, 6) else f"jax {jax.__version__} is too old, 0.6 or later is needed"


@cv.hookimpl
def curvature_conformance_environment(backend: str, device: Any) -> dict[str, str] | None:
    """Flags that make XLA compile for a CPU in a third of the time: the suite runs every program once or twice.

    Both flags are known from JAX 0.6 on; a JAX that does not know one ends its process, and the suite goes on without them.
    """
    if backend != "jax" or not str(device or "cpu").startswith("cpu"):
        return None
    flags = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    return {"XLA_FLAGS": flags, "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "0"}


@cv.hookimpl
def curvature_register_tree_node(node: Any) -> bool | None:
    """Containers of JAX: what was registered with ``jax.tree_util``, Equinox modules among it."""
    if "jax" not in sys.modules:
        return None
    from .tree_nodes import register

    return register(type(node), node)


@cv.hookimpl
def curvature_adapt_model(model: Any, output: Any) -> Any:
    """Flax NNX and Equinox modules."""
    if not ({"flax.nnx", "equinox"} & set(sys.modules)):
        return None
    from .modules import adapted, is_known

    return adapted(model, output) if is_known(model) else None


def as_model(module: Any, *, output: Any = None, by_example: bool | None = None) -> cv.Model:
    """``curvature.as_model`` with one more choice.

    Args:
        module: a Flax NNX or an Equinox module.
        output: which part of what it returns counts: see ``curvature.as_model``.
        by_example: whether the module is written for one example, to be mapped over the first axis of the inputs. By
            default as is the custom: Equinox modules are, Flax modules take batches.

    Raises:
        UnsupportedError: if it is neither.
    """
    from .modules import adapted

    return adapted(module, output, by_example)


def update(module: Any, params: Any) -> Any:
    """The module with other parameters: the way back from ``curvature.as_model(module)``.

    Args:
        module: the Flax NNX or Equinox module that was adapted, or one of the same structure.
        params: a tree like ``curvature.as_model(module).params``.

    Returns:
        For Equinox, whose modules are immutable, a new module; for Flax NNX the same module, its variables updated.

    Raises:
        UnsupportedError: if the module is neither.
        ShapeError: if ``params`` do not fit the module.
    """
    from .modules import updated

    return updated(module, params)
