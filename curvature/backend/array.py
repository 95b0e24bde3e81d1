"""A backend from nothing but an Array API namespace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import array_api_compat
import numpy as np

from .. import autodiff
from ..autodiff import uses as recorded
from ..autodiff.traced import Traced
from ..errors import DifferentiationError, MixedBackendError, PrecisionError, ShapeError
from ..trees import leaves, tree_map
from .base import Backend, Pull, Push
from .capabilities import CAPABILITIES, Claim, Support
from .namespaces import namespace
from .rng import Rng
from .triangular import substitute
from .uses import ParameterUses

Array = Any
Tree = Any


class ArrayBackend(Backend):
    """Any Array API namespace as a full backend; derivatives come from ``curvature.autodiff``.

    Args:
        name: what it is called.
        xp: the namespace.
        device: the device for ``asarray``; None is the library's default.
        dtype: name of the floating dtype that ``asarray`` gives to floating values, or None to keep theirs.

    Example:
        ``ArrayBackend("strict", array_api_strict, dtype="float64")``
    """

    capabilities: Mapping[str, Claim] = {name: Claim(Support.DERIVED) for name in CAPABILITIES} | {
        "arrays": Claim(Support.NATIVE),
        "float64": Claim(Support.NATIVE),
        "jit": Claim(Support.DERIVED, "the function itself: a bare namespace has no compiler"),
    }

    def __init__(self, name: str, xp: Any, *, device: Any = None, dtype: str | None = None) -> None:
        self.name = name
        self.xp = xp
        self.device = device
        self.dtype = dtype
        if dtype is not None:
            self._dtype(dtype)

    # Arrays -----------------------------------------------------------------------------------------

    def owns(self, x: object) -> bool:
        """Whether ``x`` is an array of this namespace."""
        if type(x) is Traced:
            return bool(x._op.xp is self.xp)
        try:
            return array_api_compat.array_namespace(x) is self.xp
        except TypeError:
            return False

    def _dtype(self, dtype: Any) -> Any:
        """A dtype of the namespace from its name; anything else is taken as one already."""
        if not isinstance(dtype, str):
            return dtype
        found = getattr(self.xp, dtype, None)
        if found is None:
            raise PrecisionError(f"backend {self.name!r} has no dtype {dtype!r}")
        return found

    def asarray(self, x: Any, dtype: Any = None, device: Any = None) -> Array:
        """An array of this namespace.

        Raises:
            MixedBackendError: if ``x`` is an array of another library than this one or NumPy.
            PrecisionError: if the dtype that came out is not the one asked for.
        """
        device = self.device if device is None else device
        wanted = None if dtype is None else self._dtype(dtype)
        if self.owns(x):
            floating = self.dtype is not None and self.xp.isdtype(x.dtype, ("real floating", "complex floating"))
            if wanted is None and floating:
                wanted = self._dtype(self.dtype)
            if wanted is not None and x.dtype != wanted:
                x = self.xp.astype(x, wanted)
            return x if type(x) is Traced or device is None else array_api_compat.to_device(x, device)
        foreign = hasattr(x, "__array_namespace__") or hasattr(x, "__dlpack__")
        if foreign and not isinstance(x, (np.ndarray, np.generic)):
            raise MixedBackendError(
                f"backend {self.name!r} was given a {type(x).__module__}.{type(x).__qualname__}; arrays do not move "
                "between libraries by themselves: pass other.to_numpy(x), other being the backend of x"
            )
        source = np.asarray(x)
        if wanted is None and self.dtype is not None and source.dtype.kind == "f":
            wanted = self._dtype(self.dtype)
        # The name of the source's dtype is asked for explicitly: some libraries would quietly narrow it.
        asked = wanted if wanted is not None else getattr(self.xp, source.dtype.name, None)
        y = self.xp.asarray(source, dtype=asked, device=device)
        if asked is not None and y.dtype != asked:
            raise PrecisionError(f"backend {self.name!r} gave {y.dtype} where {asked} was asked for")
        return y

    def to_numpy(self, x: Array) -> Any:
        """``x`` on the host, through the array protocol or DLPack."""
        if type(x) is Traced:
            raise DifferentiationError("to_numpy of an array under differentiation: its derivative would be lost")
        try:
            return np.asarray(x)
        except (TypeError, RuntimeError, BufferError):
            return np.from_dlpack(x)

    def devices(self) -> list[Any]:
        """What the namespace's inspection says, or the one default device."""
        info = getattr(self.xp, "__array_namespace_info__", None)
        return list(info().devices()) if info is not None else [self.device]

    def rng(self, seed: int) -> Rng:
        """Random numbers drawn on the host."""
        return Rng(self, seed)

    # Linear algebra -----------------------------------------------------------------------------------

    def _symmetrised(self, a: Array) -> Array:
        return (a + self.xp.matrix_transpose(a)) * 0.5

    def _linear_algebra_errors(self) -> tuple[type[Exception], ...]:
        theirs = getattr(getattr(self.xp, "linalg", None), "LinAlgError", None)
        return (np.linalg.LinAlgError,) if theirs is None else (np.linalg.LinAlgError, theirs)

    def cholesky(self, a: Array) -> tuple[Array, bool]:
        """(L, ok): libraries differ in whether they raise or return NaN; both become ``ok = False``."""
        try:
            factor = self.xp.linalg.cholesky(self._symmetrised(a))
        except self._linear_algebra_errors():
            return self.xp.zeros_like(a), False
        return factor, bool(self.xp.all(self.xp.isfinite(factor)))

    def eigh(self, a: Array) -> tuple[Array, Array]:
        """Eigenvalues, ascending, and eigenvectors."""
        values, vectors = self.xp.linalg.eigh(self._symmetrised(a))
        return values, vectors

    def solve_triangular(self, a: Array, b: Array, *, lower: bool = True, transposed: bool = False) -> Array:
        """By substitution of blocks: the standard has no triangular solve. The other triangle is not read."""
        xp = self.xp
        if transposed:
            a, lower = xp.matrix_transpose(a), not lower
        if len(b.shape) == 1:  # a vector is ambiguous to xp.linalg.solve when a is a stack
            return xp.reshape(substitute(xp, a, xp.reshape(b, (-1, 1)), lower=lower), tuple(b.shape))
        return substitute(xp, a, b, lower=lower)

    def synchronize(self) -> None:
        """Nothing: a bare namespace is taken to be synchronous."""

    def memory(self) -> int | None:
        """Unknown."""
        return None

    # Derivatives ------------------------------------------------------------------------------------

    def vjp(self, f: Callable[[Tree], Tree], params: Tree) -> tuple[Tree, Pull]:
        """(f(params), pull)."""
        return autodiff.vjp(f, params)

    def jvp(self, f: Callable[[Tree], Tree], params: Tree, tangent: Tree) -> tuple[Tree, Tree]:
        """(f(params), J tangent)."""
        return autodiff.jvp(f, params, tangent)

    def linearize(self, f: Callable[[Tree], Tree], params: Tree) -> tuple[Tree, Push, Pull]:
        """(f(params), push, pull)."""
        return autodiff.linearize(f, params)

    def jvp_and_pull(self, f: Callable[[Tree], Tree], params: Tree, tangent: Tree) -> tuple[Tree, Tree, Pull]:
        """(f(params), J tangent, pull)."""
        return autodiff.jvp_and_pull(f, params, tangent)

    def value_and_gradient(self, f: Callable[[Tree], Array], params: Tree) -> tuple[Array, Tree]:
        """(f(params), ∇f(params))."""
        return autodiff.value_and_gradient(f, params)

    def hvp(self, f: Callable[[Tree], Array], params: Tree, tangent: Tree) -> Tree:
        """∇²f(params) · tangent."""
        return autodiff.hvp(f, params, tangent)

    def vmap(self, f: Callable[..., Tree], in_axes: Any = 0) -> Callable[..., Tree]:
        """``f`` mapped by a loop over the leading axis, its results stacked."""

        def mapped(*args: Any) -> Tree:
            axes = in_axes if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(args)
            if len(axes) != len(args) or any(axis not in (0, None) for axis in axes):
                raise ShapeError(f"in_axes must give 0 or None for each of {len(args)} arguments, got {in_axes}")
            moving = [a for arg, axis in zip(args, axes, strict=True) if axis == 0 for a in leaves(arg)]
            lengths = {int(a.shape[0]) for a in moving}
            if len(lengths) != 1:
                raise ShapeError(f"vmap needs one length of the leading axes, got {sorted(lengths)}")
            (n,) = lengths
            if n == 0:
                raise ShapeError("vmap over an axis of length zero: the shape of the result is unknown")
            results = [
                f(*(arg if axis is None else _slice(arg, i) for arg, axis in zip(args, axes, strict=True))) for i in range(n)
            ]
            return tree_map(lambda *parts: namespace(*parts).stack(list(parts)), *results)

        return mapped

    def jit(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """``f`` itself."""
        return f

    # Structure --------------------------------------------------------------------------------------

    def parameter_uses(self, f: Callable[[Tree, Any], Array], params: Tree, x: Any) -> ParameterUses:
        """Evaluate f(params, x) and report how each parameter entered."""
        return recorded.parameter_uses(f, params, x)


def _slice(tree: Tree, i: int) -> Tree:
    return tree_map(lambda a: a[(i, ...)], tree)
