"""From a program to the uses of its parameters; whatever takes a parameter is accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from .examples import Examples
from .found import Found
from .program import Program, Step
from .rules import RULES, Place, Refused, copies, fills, scale
from .views import Factor, Move, Places, View, followed, movement


@dataclass(frozen=True)
class Resolution:
    """What was found.

    Attributes:
        found: the uses, in the order of the program.
        refused: number of a parameter -> why (some of) its uses are not understood.
        unused: numbers of the parameters that no derivative of the results depends on.
    """

    found: tuple[Found, ...]
    refused: dict[int, str]
    unused: tuple[int, ...]


def resolve(program: Program, examples: Examples, parameters: int) -> Resolution:
    """The uses of the first arguments, ``parameters`` of them."""
    live = _live(program)
    views: dict[int, View] = {}
    for number, value in enumerate(program.arguments[:parameters]):
        shape = tuple(program.types[value].shape)
        views[value] = View(number, shape, shape)
    found: list[Found] = []
    refused: dict[int, str] = {}
    entered: set[int] = set()
    for number, step in enumerate(program.steps):
        if not live.intersection(step.kept) or not _passes_derivatives(program, step):
            continue
        move = _move(program, step)
        for operand, value in enumerate(step.inputs):
            if value not in views:
                continue
            view = views[value]
            entered.add(view.parameter)
            if move is not None:
                for position, output in enumerate(step.outputs):
                    if output is not None:
                        views[output] = view.moved(move, position, _shape(program, output), step.run)
                continue
            scaled = _scaled(program, examples, step, operand, views)
            if scaled is not None:
                views[step.kept[0]] = scaled
                continue
            try:
                found.append(_use(Place(program, examples, number, operand, view)))
            except Refused as reason:
                refused.setdefault(view.parameter, str(reason))
    for value in program.results:
        if value in views:
            entered.add(views[value].parameter)
            refused.setdefault(views[value].parameter, "it is itself what the model returns")
    unused = tuple(n for n in range(parameters) if n not in entered)
    return Resolution(tuple(_with_biases(program, live, views, found)), refused, unused)


def _shape(program: Program, value: int) -> tuple[int, ...]:
    return tuple(program.types[value].shape)


def _scaled(program: Program, examples: Examples, step: Step, operand: int, views: dict[int, View]) -> View | None:
    """A parameter times numbers that are the same for all examples, as in batch norm in evaluation mode."""
    if step.name != "mul" or examples.axes[step.kept[0]] or step.inputs[1 - operand] in views:
        return None
    view, other, shape = views[step.inputs[operand]], step.inputs[1 - operand], _shape(program, step.kept[0])
    if view.factor is not None:
        return None
    if view.shape != shape:
        view = view.moved(lambda places: [np.broadcast_to(places, shape)], 0, shape)
    return replace(view, factor=Factor(other, ((lambda values: [jnp.broadcast_to(values[0], shape)], 0),)))


def _use(place: Place) -> Found:
    """By the primitive's own rule; else, where the parameter was repeated for each example, as these copies."""
    rule = RULES.get(place.step.name)
    reason = Refused(f"enters through {place.step.name}")
    if place.view.factor is not None and rule is not scale:
        raise Refused(f"enters through {place.step.name} after it was multiplied")
    if rule is not None:
        try:
            return rule(place)
        except Refused as refusal:
            reason = refusal
    if place.view.factor is not None:
        raise reason
    try:
        return copies(place)
    except Refused:
        raise reason from None


def _live(program: Program) -> set[int]:
    """Values that derivatives of the results pass through."""
    live = set(program.results)
    for step in reversed(program.steps):
        if live.intersection(step.kept) and _passes_derivatives(program, step):
            live.update(step.inputs)
    return live


def _passes_derivatives(program: Program, step: Step) -> bool:
    """Whether an output may change smoothly with the inputs."""
    if step.name == "stop_gradient":
        return False
    return any(jnp.issubdtype(program.types[output].dtype, jnp.inexact) for output in step.kept)


def _move(program: Program, step: Step) -> Move | None:
    """The step as a movement of the entries of its first input, if it is no more than that."""
    if len(step.inputs) == 1:
        if step.name == "convert_element_type" and program.types[step.inputs[0]].dtype == step.params["new_dtype"]:
            return lambda places: [places]
        return movement(step.name, step.params)
    if step.name not in ("gather", "dynamic_slice") or fills(step.params):
        return None
    indices = [program.known(value) for value in step.inputs[1:]]
    if any(index is None for index in indices):
        return None

    def picked(places: Places) -> Sequence[Places]:
        with jax.ensure_compile_time_eval():
            return [np.asarray(out) for out in step.run([places, *indices])]

    return picked


# Biases ----------------------------------------------------------------------------------------------


def _with_biases(program: Program, live: set[int], views: dict[int, View], found: Sequence[Found]) -> list[Found]:
    """A vector that is added to a product, and the product to nothing else, is that product's bias.

    Elsewhere weight and bias would have different cotangents.
    """
    readers = Counter(program.results)
    reader: dict[int, int] = {}
    for number, step in enumerate(program.steps):
        if live.intersection(step.kept):
            readers.update(step.inputs)
            reader.update(dict.fromkeys(step.inputs, number))
    shifts = {f.site.step: i for i, f in enumerate(found) if f.kind == "shift" and f.site.operand is None and f.sign == 1}
    taken: set[int] = set()
    result: list[Found | None] = list(found)
    for i, use in enumerate(found):
        if use.kind not in ("linear", "scale"):
            continue
        value, numbers = program.steps[use.site.step].kept[0], use.layout.numbers()
        moves: list[tuple[Move, int]] = []
        while readers[value] == 1 and value in reader:
            number = reader[value]
            step = program.steps[number]
            if number in shifts:
                j = shifts[number]
                operand = 1 - step.inputs.index(value)
                view = views.get(step.inputs[operand])
                if (
                    j not in taken
                    and not (step.name == "sub" and operand == 0)  # b - x W: the product has the other sign
                    and view is not None
                    and view.factor is None
                    and _agree(followed(numbers, moves), view, found[j], use)
                ):
                    taken.add(j)
                    result[i], result[j] = use.with_bias(found[j].parameter), None
                break
            move = _move(program, step) if len(step.inputs) == 1 else None
            if move is None or len(step.kept) != 1 or len(step.outputs) != 1:
                break
            moves.append((move, 0))
            value = step.kept[0]
    return [use for use in result if use is not None]


def _agree(numbers: Places, view: View, shift: Found, use: Found) -> bool:
    """Whether entry k of the vector is added to column k of the product and to no other."""
    if shift.entries is not None or int(np.prod(view.origin)) != use.columns:
        return False
    places = np.broadcast_to(view.places, numbers.shape)
    still = [a for a in range(numbers.ndim) if numbers.strides[a] == 0 and places.strides[a] == 0]
    index = tuple(0 if axis in still else slice(None) for axis in range(numbers.ndim))
    return bool((numbers[index] == places[index]).all())
