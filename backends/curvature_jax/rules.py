"""How a parameter enters one primitive: as the weight of a product or a convolution, a table, a scale or a shift."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from .examples import Examples
from .found import Found, Site
from .layout import Layout
from .patches import Patches
from .program import Program, Step
from .views import View

Array = Any


class Refused(Exception):
    """A parameter enters in a way that has no affine form; the message says which."""


class Place:
    """An input of a step that is a view of a parameter.

    Attributes:
        step, number: the step and its number.
        operand: which of its inputs.
        view: what it shows.
    """

    def __init__(self, program: Program, examples: Examples, number: int, operand: int, view: View) -> None:
        self.number = number
        self.step: Step = program.steps[number]
        self.operand = operand
        self.view = view
        self._program = program
        self._examples = examples

    def shape(self, value: int) -> tuple[int, ...]:
        """Shape of a value."""
        return tuple(self._program.types[value].shape)

    @property
    def output(self) -> int:
        """The value that comes out."""
        return self.step.kept[0]

    @property
    def other(self) -> int:
        """The other one of two inputs."""
        return self.step.inputs[1 - self.operand]

    def layout(self, value: int, features: Sequence[int] | None, order: Sequence[int] | None = None) -> Layout:
        """Of a value with the axes ``features`` as the last, all others in ``order`` (their own by default).

        Raises:
            Refused: if examples do not lie on one of the other axes.
        """
        shape, axes = self.shape(value), self._examples.axes[value]
        return self.layout_of(shape, axes, features, range(len(shape)) if order is None else order)

    def layout_of(
        self, shape: tuple[int, ...], axes: Sequence[int], features: Sequence[int] | None, order: Sequence[int]
    ) -> Layout:
        """Of an array with examples on ``axes``."""
        if not axes:
            raise Refused(f"enters through {self.step.name} with arrays that have no axis of examples")
        if len(axes) > 1 or axes[0] in (features or ()):
            raise Refused(f"enters through {self.step.name}, which mixes examples")
        between = tuple(axis for axis in order if axis not in (axes[0], *(features or ())))
        return Layout(shape, axes[0], self._examples.count, between, None if features is None else tuple(features))

    def batch_layout(self, indices: int) -> Layout:
        """Of the indices of a gather, but for their last axis."""
        shape, axes = self.shape(indices)[:-1], self._examples.axes[indices]
        if axes[0] == len(shape) and self._examples.count == 1:
            axes = (0, *axes[1:])  # a single example lies along any axis, also the one that is left out here
        return self.layout_of(shape, axes, None, range(len(shape)))


def product(place: Place) -> Found:
    """``dot_general``: contracted axes are d_in, free axes of the parameter d_out, batch axes along which it varies groups."""
    view, other = place.view, place.other
    contracted, batched = place.step.params["dimension_numbers"]
    mine, theirs = (contracted[place.operand], contracted[1 - place.operand])
    my_batch, their_batch = (batched[place.operand], batched[1 - place.operand])
    pairs = sorted(zip(mine, theirs, strict=True))
    inner, their_inner = [a for a, _ in pairs], [b for _, b in pairs]
    grouped = sorted(i for i, axis in enumerate(my_batch) if axis in view.varying)
    grouped.sort(key=lambda i: my_batch[i])
    outer = [axis for axis in range(len(view.shape)) if axis not in (*mine, *my_batch)]
    groups = [my_batch[i] for i in grouped]

    # Outputs: batch axes, free axes of the left, free axes of the right.
    free = len(place.shape(other)) - len(theirs) - len(their_batch)
    first = len(my_batch) + (0 if place.operand == 0 else free)
    features = [*grouped, *range(first, first + len(outer))]
    their_features = [*(their_batch[i] for i in grouped), *their_inner]
    order = [*their_batch, *(axis for axis in range(len(place.shape(other))) if axis not in their_batch)]
    return Found(
        "linear",
        view.parameter,
        Site(place.number),
        place.layout(place.output, features),
        **_matrix(view, inner, [*groups, *outer]),
        groups=math.prod(view.shape[axis] for axis in groups),
        sources=(other,),
        prepare=place.layout(other, their_features, order),
    )


def convolution(place: Place) -> Found:
    """``conv_general_dilated``: a linear map of patches, d_in in the kernel's own order."""
    params, view = place.step.params, place.view
    if place.operand != 1 or params["batch_group_count"] != 1:
        raise Refused("enters a convolution otherwise than as its kernel")
    out = params["dimension_numbers"].rhs_spec[0]
    out_batch, out_channels, *out_spatial = params["dimension_numbers"].out_spec
    in_batch = params["dimension_numbers"].lhs_spec[0]
    layout = place.layout(place.output, [out_channels], out_spatial)
    taken = place.layout(place.other, None)
    if layout.example_axis != out_batch or taken.example_axis != in_batch:
        raise Refused("enters a convolution whose examples are not its batch")
    patches = Patches.of(params, view.shape)
    shared = layout.positions

    def prepare(x: Array) -> Array:
        cut = patches.cut(x)
        return jnp.reshape(cut, (layout.examples, *shared, cut.shape[-2] * cut.shape[-1]))

    return Found(
        "linear",
        view.parameter,
        Site(place.number),
        layout,
        **_matrix(view, [axis for axis in range(len(view.shape)) if axis != out], [out]),
        groups=params["feature_group_count"],
        sources=(place.other,),
        prepare=prepare,
    )


def _matrix(view: View, inner: Sequence[int], outer: Sequence[int]) -> dict[str, Any]:
    """A weight with these axes as d_in and d_out as a matrix: its own order if that is one, else by its entries."""
    rows, columns = math.prod(view.shape[a] for a in inner), math.prod(view.shape[a] for a in outer)
    if view.ordered([*outer, *inner]) is None and not (rows == 1 or columns == 1):
        return {"matrix_shape": (columns, rows), "transposed": True}
    return {"matrix_shape": (rows, columns), "entries": view.ordered([*inner, *outer])}


def table(place: Place) -> Found:
    """``gather`` of whole rows of the first axis: an embedding."""
    view, params = place.view, place.step.params
    numbers = params["dimension_numbers"]
    rows = (1, *view.shape[1:])
    if place.operand != 0 or tuple(params["slice_sizes"]) != rows or 0 not in numbers.start_index_map:
        raise Refused("enters through gather of other things than rows")
    if fills(params):
        raise Refused("enters through gather that puts a number where there is no row")
    # Along the other axes a slice as long as the axis starts at 0.
    position = list(numbers.start_index_map).index(0)
    indices = place.step.inputs[1]
    entries = view.ordered(range(len(rows)))
    last = view.shape[0] - 1
    batch = place.batch_layout(indices)

    def prepare(x: Array) -> Array:
        return batch(jnp.clip(x[..., position], 0, last))

    return Found(
        "embedding",
        view.parameter,
        Site(place.number),
        place.layout(place.output, numbers.offset_dims),
        (view.shape[0], math.prod(rows)),
        entries=entries,
        sources=(indices,),
        prepare=prepare,
    )


def fills(params: Mapping[str, Any]) -> bool:
    """Whether a gather gives a number of its own (NaN apart, which spoils the outputs visibly) for indices out of range."""
    value = params.get("fill_value")
    return value is not None and not math.isnan(value)


def scale(place: Place) -> Found:
    """``mul`` by a parameter that is the same for all examples."""
    layout, entries = _elementwise(place)
    shape, factor = place.shape(place.output), place.view.factor

    def prepare(x: Array, *value: Array) -> Array:
        return layout(jnp.broadcast_to(x if factor is None else x * factor(*value), shape))

    return Found(
        "scale",
        place.view.parameter,
        Site(place.number),
        layout,
        (1, math.prod(layout.feature_shape)),
        entries=entries,
        sources=(place.other,) if factor is None else (place.other, factor.value),
        prepare=prepare,
    )


def shift(place: Place) -> Found:
    """``add`` or ``sub`` of a parameter that is the same for all examples."""
    layout, entries = _elementwise(place)
    return Found(
        "shift",
        place.view.parameter,
        Site(place.number),
        layout,
        (1, math.prod(layout.feature_shape)),
        entries=entries,
        sign=-1 if place.step.name == "sub" and place.operand == 1 else 1,
    )


def copies(place: Place) -> Found:
    """Anything that takes the parameter repeated for each example: a shift of nothing by it."""
    value = place.step.inputs[place.operand]
    features = place.view.varying
    layout = place.layout(value, features)
    return Found(
        "shift",
        place.view.parameter,
        Site(place.number, place.operand),
        layout,
        (1, math.prod(layout.feature_shape)),
        entries=place.view.ordered(features),
    )


def _elementwise(place: Place) -> tuple[Layout, Any]:
    """The output's axes along which the parameter varies as features, and its entries along them."""
    view = place.view
    layout = place.layout(place.output, view.varying)
    return layout, view.ordered(view.varying)


RULES: Mapping[str, Callable[[Place], Found]] = {
    "dot_general": product,
    "conv_general_dilated": convolution,
    "gather": table,
    "mul": scale,
    "add": shift,
    "add_any": shift,
    "sub": shift,
}
