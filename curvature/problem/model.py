"""A model: a function of a tree of parameters and inputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from ..autodiff import Traced, lift
from ..backend import Backend
from ..errors import DataError, MixedBackendError, ModelError, UnsupportedError
from ..registry import backend_of, hooks
from ..trees import ParameterSpace, count, leaves, tree_map
from .structure import Layers

Array = Any
Tree = Any


class Model:
    """``apply(params, x) -> outputs`` with parameters.

    ``apply`` is a pure function written with the Array API (``xp = curvature.namespace(x)``) or with the functions of the
    parameters' own library. Examples lie on the first axis of ``x`` and of the outputs. A model without inputs takes
    ``x = None`` and returns the outputs (C,) of every example.

    Args:
        apply: the function.
        params: tree of floating arrays of one library, on one device, of one dtype.
        backend: the backend of the parameters; by default the one that owns them. Give it for an ``ArrayBackend`` of your own.

    Raises:
        DataError: if there are no parameters, or one is not floating (named).
        MixedBackendError: if they are of two libraries, devices or dtypes.
    """

    def __init__(self, apply: Callable[[Tree, Any], Array], params: Tree, *, backend: Backend | None = None) -> None:
        if not callable(apply):
            raise ModelError(f"apply must be a function (params, x) -> outputs, got {type(apply).__name__}")
        arrays = leaves(params)
        if not arrays:
            raise DataError("the model has no parameters: params holds no arrays")
        self.apply = apply
        self.backend: Backend = backend_of(*arrays) if backend is None else backend
        for array in arrays:
            if not (isinstance(array, Traced) or self.backend.owns(array)):
                kind = type(array)
                raise MixedBackendError(
                    f"a parameter is a {kind.__module__}.{kind.__qualname__}, not of backend {self.backend.name!r}"
                )
        self.params = _constants(params, self.backend)
        self.space = ParameterSpace.of(params)
        self._check_dtypes(arrays)
        # What is known of the way in which parameters enter, by signature: see structure.py.
        self.known_structures: dict[Any, Layers] = {}
        # How often its layers were asked for: see evaluation.py.
        self.evaluations = itertools.count()
        # Shapes of inputs on which it has run: see Problem.
        self.tried: set[Any] = set()

    def _check_dtypes(self, arrays: list[Array]) -> None:
        xp = self.backend.xp
        for name, array in zip(self.space.names, arrays, strict=True):
            if count(array) == 0:
                raise DataError(f"parameter {name!r} is empty: its shape is {tuple(array.shape)}")
            if not xp.isdtype(array.dtype, "real floating"):
                raise DataError(f"parameter {name!r} has dtype {array.dtype}; parameters are real floating arrays")
            if array.dtype != arrays[0].dtype:
                raise MixedBackendError(
                    f"parameter {name!r} has dtype {array.dtype}, {self.space.names[0]!r} has {arrays[0].dtype}; "
                    f"convert them to one"
                )

    @property
    def dtype(self) -> Any:
        """Floating dtype of the parameters."""
        return leaves(self.params)[0].dtype

    def __call__(self, params: Tree, x: Any) -> Array:
        """Outputs; all arrays are lifted where one is traced, so that code may take its namespace from any of them."""
        if any(isinstance(leaf, Traced) for leaf in leaves(params)):
            params, x = lift(params), None if x is None else lift(x)
        return self.apply(params, x)

    def with_params(self, params: Tree) -> Model:
        """The same function with other parameters of the same shapes."""
        self.space.flatten(params, what="params")
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.params = _constants(params, self.backend)
        return other

    def __repr__(self) -> str:
        return f"Model({self.space.size} parameters in {len(self.space.names)} arrays, {self.backend.name})"


def _constants(params: Tree, backend: Backend) -> Tree:
    """Parameters free of any history of derivatives that the caller's framework keeps with them."""
    return tree_map(lambda leaf: leaf if isinstance(leaf, Traced) else backend.asarray(leaf), params)


def as_model(model: Any) -> Model:
    """A model from a framework's own object, through the hook ``curvature_adapt_model``; a ``Model`` is returned as it is.

    Raises:
        UnsupportedError: if no plugin knows the object.
    """
    if isinstance(model, Model):
        return model
    if isinstance(model, tuple) and len(model) == 2 and callable(model[0]):
        return Model(*model)
    adapted = hooks().curvature_adapt_model(model=model)
    if adapted is None:
        kind = type(model)
        raise UnsupportedError(
            f"no plugin knows how to make a model of a {kind.__module__}.{kind.__qualname__}; pass "
            f"curvature.Model(apply, params) with apply(params, x) -> outputs"
        )
    if not isinstance(adapted, Model):
        raise ModelError(f"a plugin adapted {type(model).__name__} to a {type(adapted).__name__}, not to a curvature.Model")
    return adapted
