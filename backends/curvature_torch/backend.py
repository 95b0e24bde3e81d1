"""The PyTorch backend: torch's own derivatives, and the uses of parameters that torch's function calls show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import array_api_compat.torch
import optree
import torch
from torch import Tensor

import curvature as cv
from curvature.backend import Closure

from . import arrays, directional, forward, functional, linalg, reverse
from .kernels import KERNELS
from .nesting import Place, place
from .uses import parameter_uses

Tree = Any
T = TypeVar("T")


def _claims(device: torch.device | None, compiled: bool) -> Mapping[str, cv.Claim]:
    claims = {
        name: cv.Claim(cv.Support.NATIVE)
        for name in ("arrays", "vjp", "jvp", "linearize", "hvp", "vmap", "parameter_uses", "float64")
    }
    claims["jit"] = (
        cv.Claim(cv.Support.NATIVE, "torch.compile")
        if compiled
        else cv.Claim(cv.Support.DERIVED, "functions run as they are; TorchBackend(compile=True) compiles them")
    )
    if device is not None and device.type == "mps":
        claims["float64"] = cv.Claim(cv.Support.IMPOSSIBLE, "Apple's mps device has no float64")
    return claims


class TorchBackend(cv.Backend):
    """PyTorch on one device.

    Derivatives at the top never touch the caller's tensors: parameters are detached first (``requires_grad`` and
    ``grad`` stay as they are) and results carry no history. Derivatives nest: inside a function that one of these
    methods differentiates, and inside the transforms of ``torch.func``, all of them are differentiable again. A graph
    that the caller recorded with ``torch.autograd`` around a call is not continued: going backward through its
    results raises.

    Args:
        device: a name ("cuda") or a ``torch.device``; None leaves tensors where they are and makes new ones on
            torch's default device.
        dtype: floating dtype that ``asarray`` gives, or None to keep what comes.
        compile: whether ``jit`` compiles (``torch.compile``).

    Raises:
        BackendUnavailableError: the device cannot be used here.
        PrecisionError: the device lacks the dtype.
    """

    name = "torch"
    xp = array_api_compat.torch
    kernels = KERNELS

    def __init__(self, device: Any = None, dtype: Any = None, *, compile: bool = False) -> None:
        self.device = arrays.usable_device(device)
        floating = arrays.torch_dtype(dtype)
        arrays.check_precision(self.device, floating)
        self._floating = floating
        self.dtype = None if floating is None else str(floating).removeprefix("torch.")
        self._compile = compile
        self.capabilities = _claims(self.device, compile)
        # Three are faster than one (fewer passes) and than nine (what is at work stays in the cache): benchmarks/operations.py.
        self.columns_at_once = 3 if self.device is None or self.device.type == "cpu" else 32

    # Arrays -----------------------------------------------------------------------------------------

    def owns(self, x: object) -> bool:
        return isinstance(x, Tensor)

    def asarray(self, x: Any, dtype: Any = None, device: Any = None) -> Tensor:
        where = self.device if device is None else arrays.usable_device(device)
        return arrays.tensor(x, arrays.torch_dtype(dtype), self._floating, where)

    def to_numpy(self, x: Tensor) -> Any:
        return x.detach().resolve_conj().resolve_neg().cpu().numpy()

    def devices(self) -> list[torch.device]:
        return arrays.available_devices()

    def rng(self, seed: int) -> cv.Rng:
        return cv.Rng(self, seed)

    def cholesky(self, a: Tensor) -> tuple[Tensor, bool]:
        return linalg.cholesky(a)

    def eigh(self, a: Tensor) -> tuple[Tensor, Tensor]:
        return linalg.eigh(a)

    def triangle(self, a: Tensor) -> Tensor:
        return torch.linalg.qr(a, mode="r")[1]  # Q takes most of the time

    def solve_triangular(self, a: Tensor, b: Tensor, *, lower: bool = True, transposed: bool = False) -> Tensor:
        return linalg.solve_triangular(a, b, lower=lower, transposed=transposed)

    def inverse_by_factor(self, lower: Tensor) -> Tensor:
        return super().inverse_by_factor(lower) if lower.device.type == "mps" else linalg.inverse_by_factor(lower)

    def gram(self, a: Tensor, *, last: Tensor | None = None, scale: float = 1.0) -> Tensor:
        return linalg.gram(a, last, scale)

    def synchronize(self) -> None:
        if self.device is None or self.device.type == "cuda":
            if torch.cuda.is_available():
                torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def memory(self) -> int | None:
        if self.device is not None and self.device.type == "cuda":
            return int(torch.cuda.memory_allocated(self.device))
        return None

    def is_out_of_memory(self, error: Exception) -> bool:
        # The allocator of the CPU raises a plain RuntimeError.
        return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)

    # Derivatives ------------------------------------------------------------------------------------

    def vjp(self, f: Callable[[Tree], Tree], params: Tree) -> tuple[Tree, Callable[[Tree], Tree]]:
        where = _place(params)
        return functional.vjp(f, params) if where is Place.FUNCTIONAL else reverse.vjp(f, params, where)

    def jvp(self, f: Callable[[Tree], Tree], params: Tree, tangent: Tree) -> tuple[Tree, Tree]:
        found = _forwards(forward.jvp, f, params, tangent)
        if found is not None:
            return found
        values, push, _ = self.linearize(f, params)
        return values, push(tangent)

    def linearize(self, f: Callable[[Tree], Tree], params: Tree) -> tuple[Tree, Callable[[Tree], Tree], Callable[[Tree], Tree]]:
        where = _place(params)
        if where is Place.FUNCTIONAL:
            return functional.linearize(f, params)
        lines = reverse.Linearization(f, params, where)
        return lines.tape.values(), lines.push, lines.pull

    def jvp_and_pull(self, f: Callable[[Tree], Tree], params: Tree, tangent: Tree) -> tuple[Tree, Tree, Callable[[Tree], Tree]]:
        found = _forwards(forward.jvp_and_pull, f, params, tangent)
        if found is not None:
            return found
        values, push, pull = self.linearize(f, params)
        return values, push(tangent), pull

    def value_and_gradient(self, f: Callable[[Tree], Tensor], params: Tree) -> tuple[Tensor, Tree]:
        where = _place(params)
        if where is Place.FUNCTIONAL:
            return functional.value_and_gradient(f, params)
        return reverse.value_and_gradient(f, params, where)

    def hvp(self, f: Callable[[Tree], Tensor], params: Tree, tangent: Tree) -> Tree:
        where = _place(params)
        if where is Place.FUNCTIONAL:
            return functional.hvp(f, params, tangent)
        if where is Place.TOP and isinstance(f, Closure):
            return directional.proven_hvp(f, params, tangent)
        return reverse.hvp(f, params, tangent, where)

    def hessian_map(self, f: Callable[[Tree], Tensor], params: Tree) -> Callable[[Tree], Tree]:
        if _place(params) is not Place.TOP:
            return super().hessian_map(f, params)
        if isinstance(f, Closure):
            return directional.proven_hessian_map(f, params)
        return reverse.hessian_map(f, params, Place.TOP)

    def vmap(self, f: Callable[..., Tree], in_axes: Any = 0) -> Callable[..., Tree]:
        mapped: Callable[..., Tree] = torch.func.vmap(f, tuple(in_axes) if isinstance(in_axes, list) else in_axes)
        return mapped

    def jit(self, f: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(f) if self._compile else f

    # Structure --------------------------------------------------------------------------------------

    def parameter_uses(self, f: Callable[[Tree, Any], Tensor], params: Tree, x: Any) -> cv.ParameterUses:
        return parameter_uses(f, params, x)


def _place(params: Tree) -> Place:
    return place(optree.tree_leaves(params))


def _forwards(mode: Callable[..., T], f: Callable[[Tree], Tree], params: Tree, tangent: Tree) -> T | None:
    """What forward mode gives at the top of a computation; None elsewhere, and where an operation has no forward derivative."""
    if _place(params) is not Place.TOP:
        return None
    try:
        return mode(f, params, tangent)
    except RuntimeError as error:  # reverse mode says again whatever else is wrong
        if isinstance(error, cv.CurvatureError):
            raise
        return None
