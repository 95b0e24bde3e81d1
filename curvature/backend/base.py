"""The backend: an Array API namespace with what the standard lacks, derivatives, and the structure of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .capabilities import Claim
from .gram import gram_by

if TYPE_CHECKING:
    from .rng import Rng
    from .uses import ParameterUses

Array = Any
Tree = Any
Push = Callable[[Tree], Tree]
Pull = Callable[[Tree], Tree]


class Backend(ABC):
    """One array library on one device.

    A subclass gives the namespace and the members marked abstract; ``ArrayBackend`` gives all of them for any
    namespace. Functions that are differentiated take one tree of arrays and return a tree of arrays (usually one
    array); one may be a ``Closure``, of which a backend with a compiler makes use. A backend is immutable, compares by
    (name, device, dtype) and is cheap to create.

    Attributes:
        name: the name under which it is registered.
        xp: the Array API namespace (from array_api_compat where the library needs it).
        device: device on which ``asarray`` puts arrays; None is the library's default.
        dtype: name of the floating dtype that ``asarray`` gives to floating values ("float64"), or None to keep theirs.
    """

    name: str
    xp: Any
    device: Any
    dtype: str | None
    capabilities: Mapping[str, Claim]
    columns_at_once: int = 1
    """How many output cotangents to pull back in one pass where a caller may choose: few on a CPU, many on a GPU."""
    kernels: Mapping[str, Callable[..., Array]] = MappingProxyType({})
    """Native versions of the functions of ``curvature.nn``, by name; what is not here runs in the Array API."""

    # Arrays -----------------------------------------------------------------------------------------

    @abstractmethod
    def owns(self, x: object) -> bool:
        """Whether ``x`` is an array of this library."""

    def is_abstract(self, x: Array) -> bool:
        """Whether ``x`` has no values now, because the caller's program is being compiled: what depends on values cannot
        be checked then.
        """
        return False

    @abstractmethod
    def asarray(self, x: Any, dtype: Any = None, device: Any = None) -> Array:
        """An array of this library from a number, a (nested) list, a NumPy array or an array of its own.

        An array of its own comes back free of any history of derivatives; nothing is copied that need not be.

        Args:
            dtype: a name ("float64") or a dtype of the namespace. Without it floating values take the backend's dtype
                if it has one and keep theirs otherwise; others keep theirs.
        """

    @abstractmethod
    def to_numpy(self, x: Array) -> Any:
        """A NumPy copy or view of ``x`` (detached, on the host)."""

    @abstractmethod
    def devices(self) -> list[Any]:
        """Devices that could be used."""

    @abstractmethod
    def rng(self, seed: int) -> Rng:
        """Random numbers that are the same on every backend for one seed."""

    @abstractmethod
    def cholesky(self, a: Array) -> tuple[Array, bool]:
        """(L, ok): the lower Cholesky factor of the symmetrised ``a``; ``ok`` False (L meaningless) where it has none."""

    @abstractmethod
    def eigh(self, a: Array) -> tuple[Array, Array]:
        """Eigenvalues, ascending, and eigenvectors of the symmetrised ``a``."""

    @abstractmethod
    def solve_triangular(self, a: Array, b: Array, *, lower: bool = True, transposed: bool = False) -> Array:
        """Solve a x = b (aᵀ x = b if ``transposed``) for triangular ``a`` (n, n), b (n,) or (n, k)."""

    def inverse_by_factor(self, lower: Array) -> Array:
        """(L Lᵀ)⁻¹, symmetric to the last bit, of a lower Cholesky factor (n, n)."""
        identity = self.xp.eye(lower.shape[0], dtype=lower.dtype, device=self.device)
        inverse = self.gram(self.solve_triangular(lower, identity, lower=True))
        return (inverse + self.xp.matrix_transpose(inverse)) / 2

    def gram(self, a: Array, *, last: Array | None = None, scale: float = 1.0) -> Array:
        """c bᵀ b, (d [+ 1], d [+ 1]), of a matrix (n, d).

        Args:
            a: the matrix.
            last: a further column of it, (n,): b is a with that column appended, otherwise a.
            scale: c, not negative.
        """
        return gram_by(lambda b: self.xp.matrix_transpose(b) @ b, self.xp, a, last, scale)

    def triangle(self, a: Array) -> Array:
        """The R (k, d), k = min(n, d), of a QR decomposition of (n, d): RᵀR = AᵀA, without forming that product."""
        return self.xp.linalg.qr(a, mode="reduced")[1]

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the device has done what was asked of it."""

    @abstractmethod
    def memory(self) -> int | None:
        """Bytes that arrays hold on the device now, or None where the library does not say."""

    def at_once(self) -> AbstractContextManager[Any]:
        """Where functions of arrays that have values run at once, also while the caller's program is being compiled."""
        return nullcontext()

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether the library raised ``error`` because the device has no memory left."""
        return isinstance(error, MemoryError)

    # Functions --------------------------------------------------------------------------------------

    def evaluate(self, f: Callable[[Tree], Tree], params: Tree) -> Tree:
        """f(params), compiled where the library compiles ``Closure``s."""
        return f(params)

    # Derivatives ------------------------------------------------------------------------------------

    @abstractmethod
    def vjp(self, f: Callable[[Tree], Tree], params: Tree) -> tuple[Tree, Pull]:
        """(f(params), pull) with pull(u) = Jᵀ u, a tree like ``params``. ``pull`` may be called several times."""

    @abstractmethod
    def jvp(self, f: Callable[[Tree], Tree], params: Tree, tangent: Tree) -> tuple[Tree, Tree]:
        """(f(params), J tangent)."""

    @abstractmethod
    def linearize(self, f: Callable[[Tree], Tree], params: Tree) -> tuple[Tree, Push, Pull]:
        """(f(params), push, pull) with push(v) = J v, pull(u) = Jᵀ u; residuals are kept, no call repeats the forward pass."""

    @abstractmethod
    def jvp_and_pull(self, f: Callable[[Tree], Tree], params: Tree, tangent: Tree) -> tuple[Tree, Tree, Pull]:
        """(f(params), J tangent, pull) from one forward pass, for one Gauss-Newton product. ``pull`` may be called once."""

    @abstractmethod
    def value_and_gradient(self, f: Callable[[Tree], Array], params: Tree) -> tuple[Array, Tree]:
        """(f(params), ∇f(params)) of a scalar function."""

    @abstractmethod
    def hvp(self, f: Callable[[Tree], Array], params: Tree, tangent: Tree) -> Tree:
        """∇²f(params) · tangent of a scalar function."""

    def hessian_map(self, f: Callable[[Tree], Array], params: Tree) -> Callable[[Tree], Tree]:
        """v ↦ ∇²f(params) · v for many v: ``hvp``, or quicker where a backend can keep the gradient to differentiate it."""
        return lambda tangent: self.hvp(f, params, tangent)

    @abstractmethod
    def vmap(self, f: Callable[..., Tree], in_axes: Any = 0) -> Callable[..., Tree]:
        """``f`` mapped over the leading axis of its arguments (``in_axes``: 0 or None for each argument)."""

    @abstractmethod
    def jit(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """``f`` compiled where the library can; otherwise ``f`` itself."""

    # Structure --------------------------------------------------------------------------------------

    @abstractmethod
    def parameter_uses(self, f: Callable[[Tree, Any], Array], params: Tree, x: Any) -> ParameterUses:
        """Evaluate f(params, x) and report how each parameter entered. ``f`` may be a ``Keyed``."""

    # Identity ---------------------------------------------------------------------------------------

    def _key(self) -> tuple[str, str, str | None]:
        return (self.name, str(self.device), self.dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Backend) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        parts = [repr(self.name)]
        if self.device is not None:
            parts.append(f"device={str(self.device)!r}")
        if self.dtype is not None:
            parts.append(f"dtype={self.dtype!r}")
        return f"{type(self).__name__}({', '.join(parts)})"
