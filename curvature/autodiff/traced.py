"""The array that stands in for another one while a function is differentiated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

import optree

from ..errors import DifferentiationError

Array = Any
Tree = Any

_UFUNC_OPERATORS = {
    "add": "add",
    "subtract": "subtract",
    "multiply": "multiply",
    "divide": "divide",
    "true_divide": "divide",
    "power": "pow",
    "matmul": "matmul",
    "floor_divide": "floor_divide",
    "remainder": "remainder",
    "less": "less",
    "less_equal": "less_equal",
    "greater": "greater",
    "greater_equal": "greater_equal",
    "equal": "equal",
    "not_equal": "not_equal",
    "bitwise_and": "bitwise_and",
    "bitwise_or": "bitwise_or",
    "bitwise_xor": "bitwise_xor",
    "left_shift": "bitwise_left_shift",
    "right_shift": "bitwise_right_shift",
}
# PyTorch's names of its operators, which come here when the tensor is on the left.
_TENSOR_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "div": "divide",
    "true_divide": "divide",
    "pow": "pow",
    "matmul": "matmul",
    "floor_divide": "floor_divide",
    "remainder": "remainder",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
    "bitwise_left_shift": "bitwise_left_shift",
    "bitwise_right_shift": "bitwise_right_shift",
    "bitwise_and": "bitwise_and",
    "bitwise_or": "bitwise_or",
    "bitwise_xor": "bitwise_xor",
}
_NAMESPACE = "where xp = curvature.namespace(x)"
_IN_PLACE = (
    "an array under differentiation is written in place, which would overwrite values that the derivative still needs "
    "(or lose the derivative); build a new array: xp.where(mask, new, x) to replace elements, xp.concat or xp.stack to "
    f"join parts, x = x + y to add, {_NAMESPACE}"
)


class Trace(Protocol):
    """One level of differentiation: it decides what is kept for each operation on its arrays."""

    level: int
    ended: bool

    def record(
        self, primitive: Any, op: Any, value: Array, args: tuple[Any, ...], values: list[Any], params: dict[str, Any]
    ) -> Traced:
        """The traced result of ``primitive(*args, **params)``, whose value is ``value``."""


class Constants:
    """The level of arrays that are wrapped but not differentiated: nothing is kept for them."""

    level = 0
    ended = False

    def record(
        self, primitive: Any, op: Any, value: Array, args: tuple[Any, ...], values: list[Any], params: dict[str, Any]
    ) -> Traced:
        """Wrap the value."""
        return Traced(value, self, None, op)


CONSTANT = Constants()


class Traced:
    """An array under differentiation: it has the shape, dtype and device of its value, and the operators.

    Functions are those of its namespace, ``xp = curvature.namespace(x)``. Its value cannot be looked at by Python
    (``if``, ``float``), since what Python decides from it would not be differentiated. It is never written to:
    ``x += y`` makes a new array, and what else held x keeps the old one. It lives as long as its transform: kept beyond
    that it is refused.
    """

    # The value is an array or a Traced of a lower level; the node is what the trace keeps for it (None: a constant).
    __slots__ = ("_node", "_op", "_trace", "_value")
    __array_priority__ = 1000.0
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Array, trace: Trace, node: Any, op: Any) -> None:
        self._value = value
        self._trace = trace
        self._node = node
        self._op = op

    # Attributes of the standard ---------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return tuple(self._value.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._value.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for n in self._value.shape:
            count *= n
        return count

    @property
    def dtype(self) -> Any:
        """The dtype of the value."""
        return self._value.dtype

    @property
    def device(self) -> Any:
        """The device of the value."""
        return self._op.device(self)

    @property
    def T(self) -> Traced:
        """The transpose of a matrix."""
        if self.ndim != 2:
            raise DifferentiationError(f".T is for matrices; this array has {self.ndim} axes: use xp.permute_dims")
        return self._op.permute_dims(self, axes=(1, 0))  # type: ignore[no-any-return]

    @property
    def mT(self) -> Traced:
        """The transpose of the last two axes."""
        return self._op.ns.matrix_transpose(self)  # type: ignore[no-any-return]

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self._op.ns

    def __getitem__(self, key: Any) -> Traced:
        return self._op.ns.getitem(self, key)  # type: ignore[no-any-return]

    def __len__(self) -> int:
        if not self._value.shape:
            raise TypeError("len() of an array without axes")
        return int(self._value.shape[0])

    def __iter__(self) -> Iterator[Traced]:
        if not self._value.shape:
            raise TypeError("iteration over an array without axes")
        return iter(self._op.ns.unstack(self, axis=0))

    def __copy__(self) -> Traced:
        return self  # nothing can write to it

    def __deepcopy__(self, memo: dict[int, Any]) -> Traced:
        return self

    def __repr__(self) -> str:
        kind = "constant" if self._trace.level == 0 else f"level {self._trace.level}"
        return f"Traced({self._value!r}, {kind})"

    def __getattr__(self, name: str) -> NoReturn:
        # AttributeError is what hasattr() and the protocols of the libraries expect.
        if name == "at" or (name.endswith("_") and not name.startswith("_")):
            raise AttributeError(f"x.{name}: {_IN_PLACE}")
        raise AttributeError(
            f"an array under differentiation has no attribute {name!r}; write it with its namespace: "
            f"xp = curvature.namespace(x), then xp.{name}(x) where the Array API has it"
        )

    def to_device(self, device: Any, /, *, stream: Any = None) -> Traced:
        """The array itself on its own device; a derivative does not cross devices."""
        if stream is not None or device != self.device:
            raise DifferentiationError(
                f"an array under differentiation on {self.device} cannot be moved to {device}: a derivative is taken on "
                "one device; move the parameters and the data there before differentiating"
            )
        return self

    # What would leave the trace ---------------------------------------------------------------------

    def _refuse(self, what: str, why: str, remedy: str) -> NoReturn:
        raise DifferentiationError(
            f"{what} of an array under differentiation (shape {self.shape}, {self.dtype}): {why}; {remedy}, {_NAMESPACE}"
        )

    def __bool__(self) -> bool:
        self._refuse(
            "bool() (an 'if', 'while', 'and', 'or', 'not', 'in' or 'assert')",
            "Python would take one branch and the derivative would not know of the choice",
            "compute both values and choose with xp.where(condition, a, b), combine conditions with & | ~, or decide "
            "before differentiating on what does not depend on the parameters",
        )

    def _refuse_number(self, what: str) -> NoReturn:
        self._refuse(
            what,
            "a Python number carries no derivative, so what is computed from it would be differentiated as a constant",
            "keep the array of shape () and the functions of its namespace (xp.exp(x) for math.exp(x), xp.where for choices)",
        )

    def __float__(self) -> float:
        self._refuse_number("float()")

    def __int__(self) -> int:
        self._refuse_number("int()")

    def __complex__(self) -> complex:
        self._refuse_number("complex()")

    def __round__(self, *args: Any) -> NoReturn:
        self._refuse_number("round()")

    def __index__(self) -> int:
        self._refuse(
            "use as a Python index or a count",
            "lists, ranges and shapes need numbers that are known, and an array's values are not there for Python",
            "pick from an array with xp.take(array, i) or array[i], choose with xp.where, and count with shapes",
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        raise DifferentiationError(f"x[...] = value: {_IN_PLACE}")

    def __delitem__(self, key: Any) -> None:
        raise DifferentiationError(f"del x[...]: {_IN_PLACE}")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise DifferentiationError(
            "an array under differentiation cannot become a NumPy array (in a NumPy function, or written into one with "
            f"a[...] = x): its derivative would be lost; use its own namespace: xp.exp(x) for np.exp(x), xp.concat or "
            f"xp.stack for writing into an array, {_NAMESPACE}"
        )

    def __dlpack__(self, **kwargs: Any) -> Any:
        raise DifferentiationError(
            "an array under differentiation cannot be exported through DLPack: its derivative would be lost; write the "
            f"function with its own namespace, {_NAMESPACE}"
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        # NumPy comes here for `np_array @ traced` too, which is an operator and must work.
        name = _UFUNC_OPERATORS.get(ufunc.__name__)
        if name is not None and method == "__call__" and not kwargs:
            return getattr(self._op, name)(*inputs)
        if "out" in kwargs or method == "at":
            raise DifferentiationError(f"np.{ufunc.__name__} into a NumPy array (a += x, out=a, .at): {_IN_PLACE}")
        self._refuse_foreign("np", ufunc.__name__)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        self._refuse_foreign("np", func.__name__)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # PyTorch's protocol: it comes here for every function of its own, operators of a tensor on the left included.
        name = getattr(func, "__name__", str(func))
        if name in ("__setitem__", "__set__") or (name.endswith("_") and not name.endswith("__")) or name.startswith("__i"):
            raise DifferentiationError(f"torch's {name} into a tensor: {_IN_PLACE}")
        operator = _TENSOR_OPERATORS.get(name.strip("_"))
        if operator is not None and len(args) == 2 and not kwargs:
            x = next(a for a in args if type(a) is cls)
            return getattr(x._op, operator)(*args)
        cls._refuse_foreign("torch", name)

    @staticmethod
    def _refuse_foreign(library: str, name: str) -> NoReturn:
        raise DifferentiationError(
            f"{library}.{name} of an array under differentiation: write xp = curvature.namespace(x) and xp.{name}(x), "
            "so that the function can be differentiated and runs on every array library"
        )

    # Operators --------------------------------------------------------------------------------------

    def __neg__(self) -> Traced:
        return self._op.negative(self)  # type: ignore[no-any-return]

    def __pos__(self) -> Traced:
        return self

    def __abs__(self) -> Traced:
        return self._op.abs(self)  # type: ignore[no-any-return]

    def __invert__(self) -> Traced:
        return self._op.bitwise_invert(self)  # type: ignore[no-any-return]


def _forward_operator(name: str) -> Callable[[Traced, Any], Any]:
    def operator(self: Traced, other: Any) -> Any:
        return getattr(self._op, name)(self, other)

    return operator


def _reflected_operator(name: str) -> Callable[[Traced, Any], Any]:
    def operator(self: Traced, other: Any) -> Any:
        return getattr(self._op, name)(other, self)

    return operator


for _symbol, _name in {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}.items():
    setattr(Traced, f"__{_symbol}__", _forward_operator(_name))
    setattr(Traced, f"__r{_symbol}__", _reflected_operator(_name))
for _symbol, _name in {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}.items():
    setattr(Traced, f"__{_symbol}__", _forward_operator(_name))


def strip(x: Any) -> Any:
    """The plain array under all levels."""
    while type(x) is Traced:
        x = x._value
    return x


def strip_constant(x: Any) -> Any:
    """``x`` without the wrapping of a constant; arrays of other levels stay as they are."""
    return x._value if type(x) is Traced and x._trace is CONSTANT else x


def is_differentiated(x: Any) -> bool:
    """Whether ``x`` is traced, and no constant."""
    return type(x) is Traced and x._trace is not CONSTANT


def constant(value: Array, op: Any) -> Traced:
    """``value`` as a constant of the traced namespace. A constant always wraps a plain array."""
    return value if type(value) is Traced else Traced(value, CONSTANT, None, op)


def lift(tree: Tree) -> Tree:
    """Wrap the arrays of a tree as constants of the traced namespace; nothing is recorded for them.

    Some libraries refuse an operator whose right operand is foreign before the operand is asked
    (``strict_array @ traced``). A function whose data are lifted works on those too. Leaves that are no arrays
    (numbers, strings) are left alone.
    """
    from .namespace import operations

    def wrap(x: Any) -> Any:
        if type(x) is Traced or not hasattr(x, "shape") or not hasattr(x, "dtype"):
            return x
        return constant(x, operations(x))

    return optree.tree_map(wrap, tree)
