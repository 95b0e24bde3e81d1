"""The Array API namespace of traced arrays, over the namespace of any library."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import array_api_compat

from ..errors import DifferentiationError, MixedBackendError
from . import creation, cumulative, indexing, linear_algebra, manipulation, matrix_functions, reductions
from . import elementwise as elementwise  # defines its primitives when imported
from .primitive import PRIMITIVES, bind, is_number
from .traced import Traced, constant, strip

Array = Any


class Operations:
    """The primitives bound to one library; what rules are written with.

    Attributes:
        xp: the library's namespace.
        ns: the traced namespace over it.
    """

    strip = staticmethod(strip)

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.ns = TracedNamespace(self)

    def __getattr__(self, name: str) -> Any:
        # Bound when first used: a library may lack functions that nobody asks of it.
        if name not in PRIMITIVES:
            raise AttributeError(name)
        function = bind(PRIMITIVES[name], self)
        setattr(self, name, function)
        return function

    @property
    def index_dtype(self) -> Any:
        """The dtype of the indices that are made here."""
        return self.xp.int64

    def device(self, x: Array) -> Any:
        """The device of a plain or traced array."""
        return array_api_compat.device(strip(x))

    def is_floating(self, x: Array) -> bool:
        """Whether ``x`` holds real floating-point numbers."""
        return bool(self.xp.isdtype(x.dtype, "real floating"))

    def constant(self, value: Array, *inputs: Any) -> Array:
        """``value`` wrapped as a constant if any input was traced."""
        return constant(value, self) if any(type(x) is Traced for x in inputs) else value


def astype(op: Operations, x: Array, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Array:
    """``x`` in another dtype; integers and booleans are locally constant."""
    if x.dtype == dtype:
        return x
    if not op.xp.isdtype(dtype, "real floating") or not op.is_floating(x):
        return op.constant(op.xp.astype(strip(x), dtype), x)
    return op.astype(x, dtype=dtype)


def where(op: Operations, condition: Array, x1: Any, x2: Any, /) -> Array:
    """x1 where the condition holds, x2 elsewhere; the branch not taken has derivative zero whatever it holds."""
    if is_number(x1) and is_number(x2):
        return op.constant(op.xp.where(strip(condition), x1, x2), condition)
    result = op.where(strip(condition), x1, x2)
    return op.constant(result, condition)


def clip(op: Operations, x: Array, /, min: Any = None, max: Any = None) -> Array:
    """``x`` within bounds; at a bound that is a number the derivative is one."""
    if (min is None or is_number(min)) and (max is None or is_number(max)):
        return op.clip(x, min, max)
    x = x if min is None else op.maximum(x, min)
    return x if max is None else op.minimum(x, max)


def positive(op: Operations, x: Array, /) -> Array:
    """``x`` itself."""
    return x


def _without_traces(name: str) -> Any:
    def function(op: Operations, *args: Any, **kwargs: Any) -> Any:
        return getattr(op.xp, name)(*[strip(a) for a in args], **kwargs)

    return function


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **manipulation.FUNCTIONS,
    **reductions.FUNCTIONS,
    **cumulative.FUNCTIONS,
    **indexing.FUNCTIONS,
    **linear_algebra.FUNCTIONS,
    **creation.FUNCTIONS,
    **{f.__name__: f for f in (astype, where, clip, positive)},
    **{name: _without_traces(name) for name in ("result_type", "can_cast", "finfo", "iinfo", "isdtype")},
}
_INTERNAL = ("getitem", "scatter", "take_rows", "scatter_rows")


class TracedNamespace:
    """A namespace whose functions take plain and traced arrays of one library.

    Its functions are the library's own on plain arrays. A function for which there is no derivative rule raises
    ``DifferentiationError`` when it meets a traced array.
    """

    def __init__(self, op: Operations) -> None:
        self._op = op
        self.linalg = _Extension(op, "linalg", matrix_functions.FUNCTIONS)

    def __getattr__(self, name: str) -> Any:
        op = self._op
        if name in FUNCTIONS:
            value = functools.partial(FUNCTIONS[name], op)
        elif name in PRIMITIVES and name not in _INTERNAL:
            value = getattr(op, name)
        else:
            value = _guarded(getattr(op.xp, name), name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._op.xp), *FUNCTIONS})

    def __repr__(self) -> str:
        return f"<traced namespace over {getattr(self._op.xp, '__name__', self._op.xp)}>"


class _Extension:
    """An extension (``linalg``, ``fft``) of the traced namespace."""

    def __init__(self, op: Operations, name: str, functions: dict[str, Callable[..., Any]]) -> None:
        self._op = op
        self._name = name
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        if name in self._functions:
            value: Any = functools.partial(self._functions[name], self._op)
        else:
            value = _guarded(getattr(getattr(self._op.xp, self._name), name), f"{self._name}.{name}")
        setattr(self, name, value)
        return value


def _guarded(value: Any, name: str) -> Any:
    """A function that has no derivative rule: it serves plain arrays and refuses traced ones."""
    if isinstance(value, types.ModuleType) or not callable(value) or isinstance(value, type):
        return value

    @functools.wraps(value)
    def function(*args: Any, **kwargs: Any) -> Any:
        for a in (*args, *kwargs.values()):
            if type(a) is Traced or (isinstance(a, (list, tuple)) and any(type(entry) is Traced for entry in a)):
                raise DifferentiationError(
                    f"{name} has no derivative rule in curvature.autodiff; write it with functions that have one, or "
                    "compute it before differentiation where it does not depend on the parameters"
                )
        return value(*args, **kwargs)

    return function


_OPERATIONS: dict[int, Operations] = {}


def operations_over(xp: Any) -> Operations:
    """The operations over a library's namespace; one for each (and kept, so that the id stays its own)."""
    found = _OPERATIONS.get(id(xp))
    if found is None:
        found = _OPERATIONS.setdefault(id(xp), Operations(xp))
    return found


def operations(x: Array) -> Operations:
    """The operations for a plain or traced array."""
    if type(x) is Traced:
        return x._op  # type: ignore[no-any-return]
    try:
        return operations_over(array_api_compat.array_namespace(x))
    except TypeError:
        raise TypeError(f"{type(x).__name__} is not an array of an Array API library") from None


def common_operations(*arrays: Any) -> Operations:
    """The operations for arrays of one library, plain and traced; Python numbers and None are skipped.

    Raises:
        MixedBackendError: if the arrays are of several libraries.
        TypeError: if there is no array.
    """
    found: Operations | None = None
    for x in arrays:
        if x is None or is_number(x):
            continue
        op = operations(x)
        if found is not None and op is not found:
            names = " and ".join(str(getattr(o.xp, "__name__", o.xp)) for o in (found, op))
            raise MixedBackendError(
                f"arrays of two libraries in one call: {names}; move them to one with backend.asarray(other.to_numpy(x))"
            )
        found = op
    if found is None:
        raise TypeError("no array among the arguments, so there is no namespace to find")
    return found
