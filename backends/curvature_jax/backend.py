"""The JAX backend: JAX's own derivatives, compiled, and the uses of parameters that a jaxpr shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import curvature as cv
from curvature.backend import CAPABILITIES, gram_by, gram_by_panels

from . import arrays, derivatives, fused, linalg
from .kernels import KERNELS
from .uses import parameter_uses

Array = Any
Tree = Any


class JaxBackend(cv.Backend):
    """JAX on one device.

    Functions that come as ``curvature.backend.Closure`` (all that a ``Problem`` hands over) are compiled once for each
    shape; other functions run operation by operation. Everything works inside of the caller's own ``jax.jit``,
    ``jax.grad`` and ``jax.vmap``, and nothing of JAX's configuration is ever changed.

    Args:
        device: a name ("cpu", "cuda:1"), a ``jax.Device``; None leaves arrays where they are and makes new ones on JAX's
            default device.
        dtype: floating dtype that ``asarray`` gives, or None to keep what comes.

    Raises:
        BackendUnavailableError: the device cannot be used here.
        PrecisionError: 64-bit types are asked for and not turned on (``jax_enable_x64``).
    """

    name = "jax"
    xp: Any = jnp
    kernels = KERNELS

    def __init__(self, device: Any = None, dtype: Any = None) -> None:
        fused.install()
        self.device = arrays.usable_device(device)
        self._floating = arrays.dtype_of(dtype)
        self.dtype = None if self._floating is None else self._floating.name
        on_host = (self.device or jax.local_devices()[0]) in _host_devices()
        # One at a time stays in a CPU's cache, and no sum over columns is needed.
        self.columns_at_once = 1 if on_host else 32

    @property
    def capabilities(self) -> Mapping[str, cv.Claim]:  # type: ignore[override]
        """All of them natively; float64 where the caller has turned it on."""
        claims = {name: cv.Claim(cv.Support.NATIVE) for name in CAPABILITIES}
        if not arrays.has_float64():
            claims["float64"] = cv.Claim(cv.Support.IMPOSSIBLE, f"64-bit types are off in JAX: {arrays.ENABLE}")
        return claims

    # Arrays -----------------------------------------------------------------------------------------

    def owns(self, x: object) -> bool:
        return isinstance(x, jax.Array)

    def is_abstract(self, x: Array) -> bool:
        """Also where ``x`` itself has values, but what is computed of it now is recorded rather than done."""
        return isinstance(x, jax.core.Tracer) or isinstance(jax.lax.iota("int32", 1), jax.core.Tracer)

    def asarray(self, x: Any, dtype: Any = None, device: Any = None) -> Array:
        where = self.device if device is None else arrays.usable_device(device)
        return arrays.array(x, dtype, self._floating, where)

    def to_numpy(self, x: Array) -> Any:
        return arrays.numpy_array(x)

    def devices(self) -> list[Any]:
        return arrays.available_devices()

    def rng(self, seed: int) -> cv.Rng:
        return cv.Rng(self, seed)

    def cholesky(self, a: Array) -> tuple[Array, Any]:
        """(L, ok); ``ok`` is an array of one boolean where ``a`` has no values now."""
        factor, ok = linalg.cholesky(a)
        return factor, ok if isinstance(ok, jax.core.Tracer) else bool(ok)

    def eigh(self, a: Array) -> tuple[Array, Array]:
        return linalg.eigh(a)

    def solve_triangular(self, a: Array, b: Array, *, lower: bool = True, transposed: bool = False) -> Array:
        return linalg.solve_triangular(a, b, lower=lower, transposed=transposed)

    def gram(self, a: Array, *, last: Array | None = None, scale: float = 1.0) -> Array:
        return gram_by(partial(gram_by_panels, self.xp), self.xp, a, last, scale)

    def triangle(self, a: Array) -> Array:
        return jnp.linalg.qr(a, mode="r")  # Q takes most of the time

    def synchronize(self) -> None:
        # A device need not run what is independent in order: only the arrays themselves know when they are there.
        jax.block_until_ready(jax.live_arrays())
        jax.effects_barrier()

    def memory(self) -> int | None:
        device = self.device if isinstance(self.device, jax.Device) else jax.local_devices()[0]
        stats = device.memory_stats()
        return None if stats is None else int(stats["bytes_in_use"])

    def at_once(self) -> AbstractContextManager[Any]:
        return jax.ensure_compile_time_eval()

    def is_out_of_memory(self, error: Exception) -> bool:
        # XLA's errors have one class; its status stands at the beginning of their messages.
        return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error))

    # Functions --------------------------------------------------------------------------------------

    def evaluate(self, f: Callable[[Tree], Tree], params: Tree) -> Tree:
        return derivatives.evaluate(f, params)

    # Derivatives ------------------------------------------------------------------------------------

    def vjp(self, f: Callable[[Tree], Tree], params: Tree) -> tuple[Tree, Callable[[Tree], Tree]]:
        return derivatives.vjp(f, params)

    def jvp(self, f: Callable[[Tree], Tree], params: Tree, tangent: Tree) -> tuple[Tree, Tree]:
        return derivatives.jvp(f, params, tangent)

    def linearize(self, f: Callable[[Tree], Tree], params: Tree) -> tuple[Tree, Callable[[Tree], Tree], Callable[[Tree], Tree]]:
        return derivatives.linearize(f, params)

    def jvp_and_pull(self, f: Callable[[Tree], Tree], params: Tree, tangent: Tree) -> tuple[Tree, Tree, Callable[[Tree], Tree]]:
        return derivatives.jvp_and_pull(f, params, tangent)

    def value_and_gradient(self, f: Callable[[Tree], Array], params: Tree) -> tuple[Array, Tree]:
        return derivatives.value_and_gradient(f, params)

    def hvp(self, f: Callable[[Tree], Array], params: Tree, tangent: Tree) -> Tree:
        return derivatives.hvp(f, params, tangent)

    def vmap(self, f: Callable[..., Tree], in_axes: Any = 0) -> Callable[..., Tree]:
        return jax.vmap(f, tuple(in_axes) if isinstance(in_axes, list) else in_axes)

    def jit(self, f: Callable[..., Any]) -> Callable[..., Any]:
        return jax.jit(f)

    # Structure --------------------------------------------------------------------------------------

    def parameter_uses(self, f: Callable[[Tree, Any], Array], params: Tree, x: Any) -> cv.ParameterUses:
        return parameter_uses(f, params, x)


def _host_devices() -> list[Any]:
    return [device for device in arrays.available_devices() if device.platform == "cpu"]
