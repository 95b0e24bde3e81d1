"""A model: a function of a tree of parameters and inputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import array_api_compat

from ..autodiff import Traced
from ..autodiff.traced import strip
from ..backend import Backend
from ..errors import DataError, MixedBackendError, ModelError, UnsupportedError
from ..registry import backend_of, hooks
from ..trees import ParameterSpace, count, leaves, tree_map
from .functions import applied
from .moving import moved, resolved
from .returned import Output, outputs_of
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
        bound_to: what ``apply`` cannot leave, if it holds more than code: "the torch.nn.Module Net". Such a model does not
            move to another backend.

    Raises:
        DataError: if there are no parameters, or one is not floating (named).
        MixedBackendError: if they are of two libraries, devices or dtypes.
    """

    def __init__(
        self, apply: Callable[[Tree, Any], Array], params: Tree, *, backend: Backend | None = None, bound_to: str | None = None
    ) -> None:
        if not callable(apply):
            raise ModelError(f"apply must be a function (params, x) -> outputs, got {type(apply).__name__}")
        self.bound_to = bound_to
        arrays = _arrays(params, backend)
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
        # Shape of an example's outputs, by the shapes of inputs on which it has run: see Problem.
        self.tried: dict[Any, tuple[int, ...]] = {}
        # Whether its forward derivative is the transpose of its reverse one, by shapes of inputs: see transposes.py.
        self.transposes: dict[Any, bool] = {}
        # What a backend compiled for it: see backend/closures.py.
        self.compiled: dict[Any, Any] = {}

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

    @property
    def device(self) -> Any:
        """Where the parameters are; None where that is not known, while a program is being compiled."""
        first = leaves(self.params)[0]
        return None if self.backend.is_abstract(first) else array_api_compat.device(strip(first))

    def __call__(self, params: Tree, x: Any) -> Array:
        """Outputs."""
        return applied(self.apply, params, x)

    def with_params(self, params: Tree) -> Model:
        """The same function with other parameters of the same shapes."""
        self.space.flatten(params, what="params")
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.params = _constants(params, self.backend)
        return other

    def to(self, backend: str | Backend, *, device: Any = None, dtype: str | None = None) -> Model:
        """The same function with its parameters on another backend, device or dtype (copied through the host).

        Raises:
            UnsupportedError: if ``apply`` cannot leave where it is.
        """
        target = resolved(backend, device, dtype)
        if self.bound_to is not None and target != self.backend:
            raise UnsupportedError(
                f"{self.bound_to} does not move to {target!r} by itself: move it with its own library and adapt it again, or "
                f"write the model as apply(params, x) in the Array API (curvature.nn has the layers), which runs on every backend"
            )
        params = tree_map(lambda leaf: moved(leaf, self.backend, target, dtype), self.params)
        return Model(self.apply, params, backend=target, bound_to=self.bound_to)

    def __repr__(self) -> str:
        return f"Model({self.space.size} parameters in {len(self.space.names)} arrays, {self.backend.name})"


def _arrays(params: Tree, backend: Backend | None) -> list[Array]:
    """The leaves, after plugins have made known the containers of their frameworks that are among them.

    Raises:
        DataError: naming the first leaf that is no array.
    """
    while True:
        found = leaves(params)
        strange = [leaf for leaf in found if not _is_array(leaf, backend)]
        if not strange:
            return found
        if not hooks().curvature_register_tree_node(node=strange[0]):
            names = ParameterSpace.names_of(params)
            name = next(name for name, leaf in zip(names, found, strict=True) if leaf is strange[0])
            raise DataError(
                f"parameter {name!r} is a {type(strange[0]).__name__}; params is a tree (dicts, lists, tuples) of arrays: keep "
                f"what is no array outside of it, in apply"
            )


def _is_array(leaf: Any, backend: Backend | None) -> bool:
    return isinstance(leaf, Traced) or array_api_compat.is_array_api_obj(leaf) or (backend is not None and backend.owns(leaf))


def _constants(params: Tree, backend: Backend) -> Tree:
    """Parameters free of any history of derivatives that the caller's framework keeps with them."""
    return tree_map(lambda leaf: leaf if isinstance(leaf, Traced) else backend.asarray(leaf), params)


def as_model(model: Any, *, output: Output = None) -> Model:
    """A model from a framework's own object: a ``torch.nn.Module``, a Flax NNX or an Equinox module, ``(apply, params)``.

    It goes through the hook ``curvature_adapt_model``; a ``Model`` is returned as it is.

    Args:
        output: what counts as the outputs if the model returns more than an array: a key or attribute, a position, or a
            function of what it returns. By default the field ``logits``.

    Raises:
        UnsupportedError: if no plugin knows the object.
        ModelError: when the model is called, if ``output`` is no array in what it returns.
    """
    if isinstance(model, Model):
        if output is not None:
            raise ModelError("output= is for objects that are yet to be adapted; this is a curvature.Model already")
        return model
    if isinstance(model, tuple) and len(model) == 2 and callable(model[0]):
        apply, params = model
        return Model(apply if output is None else lambda p, x: outputs_of(apply(p, x), output), params)
    adapted = hooks().curvature_adapt_model(model=model, output=output)
    if adapted is None:
        kind = type(model)
        raise UnsupportedError(
            f"no plugin knows how to make a model of a {kind.__module__}.{kind.__qualname__}; pass "
            f"curvature.Model(apply, params) with apply(params, x) -> outputs"
        )
    if not isinstance(adapted, Model):
        raise ModelError(f"a plugin adapted {type(model).__name__} to a {type(adapted).__name__}, not to a curvature.Model")
    return adapted
