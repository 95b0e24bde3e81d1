"""The Array API namespace of traced arrays, over the namespace of any library."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import array_api_compat

from ..errors import DifferentiationError, MixedBackendError
from . import (
    creation,
    cumulative,
    elementwise,
    fourier,
    indexing,
    linear_algebra,
    manipulation,
    matrix_functions,
    reductions,
    sorting,
)
from .primitive import PRIMITIVES, bind, is_number
from .refusals import guarded
from .traced import Traced, constant, is_differentiated, strip

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
        self._complex: dict[Any, bool] = {}

    def __getattr__(self, name: str) -> Any:
        # Bound when first used: a library may lack functions that nobody asks of it.
        if name not in PRIMITIVES:
            raise AttributeError(name)
        function = bind(PRIMITIVES[name], self)
        setattr(self, name, function)
        return function

    @functools.cached_property
    def index_dtype(self) -> Any:
        """The dtype of the indices that are made here."""
        information = getattr(self.xp, "__array_namespace_info__", None)
        return self.xp.int64 if information is None else information().default_dtypes()["indexing"]

    def is_complex(self, dtype: Any) -> bool:
        """Whether a dtype is complex; asked of every result, so that the answers are kept."""
        known = self._complex.get(dtype)
        if known is None:
            known = self._complex[dtype] = bool(self.xp.isdtype(dtype, "complex floating"))
        return known

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
    """``x`` in another dtype; integers and booleans are locally constant.

    Raises:
        DifferentiationError: for a complex dtype, or for another device.
    """
    if device is not None and type(x) is Traced:
        x = x.to_device(device)
    if x.dtype == dtype:
        return x
    if is_differentiated(x) and op.is_complex(dtype):
        raise DifferentiationError(
            f"astype of an array under differentiation to {dtype}: derivatives here are of real functions; keep the real "
            "and the imaginary part as two real arrays"
        )
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


def _without_traces(name: str) -> Any:
    def function(op: Operations, *args: Any, **kwargs: Any) -> Any:
        return getattr(op.xp, name)(*[strip(a) for a in args], **kwargs)

    return function


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **elementwise.FUNCTIONS,
    **manipulation.FUNCTIONS,
    **reductions.FUNCTIONS,
    **cumulative.FUNCTIONS,
    **indexing.FUNCTIONS,
    **sorting.FUNCTIONS,
    **linear_algebra.FUNCTIONS,
    **creation.FUNCTIONS,
    **{f.__name__: f for f in (astype, where, clip)},
    **{name: _without_traces(name) for name in ("result_type", "can_cast", "finfo", "iinfo", "isdtype")},
}
FUNCTIONS["matmul"] = matrix_functions.matmul
_EXTENSIONS = {"linalg": matrix_functions.FUNCTIONS, "fft": fourier.FUNCTIONS}


class TracedNamespace:
    """A namespace whose functions take plain and traced arrays of one library.

    Its functions are the library's own on plain arrays. A function for which there is no derivative rule raises
    ``DifferentiationError`` when it meets a traced array.
    """

    def __init__(self, op: Operations) -> None:
        self._op = op

    def __getattr__(self, name: str) -> Any:
        op = self._op
        if name in FUNCTIONS:
            value: Any = functools.partial(FUNCTIONS[name], op)
        elif name in _EXTENSIONS:
            value = _Extension(op, name, _EXTENSIONS[name])
        else:
            value = guarded(getattr(op.xp, name), name, op)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._op.xp), *FUNCTIONS} - {"getitem"})

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
            value = guarded(getattr(getattr(self._op.xp, self._name), name), f"{self._name}.{name}", self._op)
        setattr(self, name, value)
        return value


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
