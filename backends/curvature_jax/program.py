"""A function as a flat list of steps: its jaxpr with inner jaxprs put in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

Array = Any

_TRANSPARENT = frozenset({"jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"})
"""Primitives that do nothing but call an inner jaxpr. What else holds one has rules of its own and stays whole."""


@dataclass(frozen=True)
class Step:
    """One primitive operation.

    Attributes:
        name: of the primitive.
        params: its static parameters.
        inputs, outputs: numbers of values; an output that is dropped has the number None.
        run: from the inputs' values to those of the outputs that are kept, in order.
    """

    name: str
    params: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int | None, ...]
    run: Callable[[Sequence[Array]], Sequence[Array]]

    @property
    def kept(self) -> tuple[int, ...]:
        """The outputs that are kept."""
        return tuple(output for output in self.outputs if output is not None)


@dataclass
class Program:
    """Steps between arguments and results.

    Attributes:
        types: shape and dtype of every value.
        constants: values that are known beforehand.
    """

    types: list[Any] = field(default_factory=list)
    constants: dict[int, Array] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    arguments: tuple[int, ...] = ()
    results: tuple[int, ...] = ()

    @classmethod
    def of(cls, f: Callable[..., Sequence[Array]], arguments: Sequence[Any]) -> Program:
        """The program of ``f`` at arguments like these (arrays, or their shapes and dtypes)."""
        closed = jax.make_jaxpr(f)(*arguments)
        program = cls()
        program.arguments = tuple(program._value(v.aval) for v in closed.jaxpr.invars)
        program.results = tuple(program._inline(closed.jaxpr, closed.consts, program.arguments))
        return program

    @property
    def is_free(self) -> bool:
        """Whether it holds no array of a trace that is still going on, so that it may be kept."""
        return not any(isinstance(value, jax.core.Tracer) for value in self.constants.values())

    def known(self, value: int) -> Array | None:
        """The value of a number or index that depends on no argument, or None."""
        if value in self.constants:
            return None if isinstance(self.constants[value], jax.core.Tracer) else self.constants[value]
        if value not in self._makers or self.types[value].dtype.kind not in "iub":
            return None
        step = self._makers[value]
        inputs = [self.known(n) for n in step.inputs]
        if any(found is None for found in inputs):
            return None
        with jax.ensure_compile_time_eval():
            return step.run(inputs)[step.kept.index(value)]

    @cached_property
    def _makers(self) -> dict[int, Step]:
        return {output: step for step in self.steps for output in step.kept}

    def _value(self, aval: Any) -> int:
        self.types.append(jax.ShapeDtypeStruct(aval.shape, aval.dtype))
        return len(self.types) - 1

    def _constant(self, aval: Any, value: Array) -> int:
        number = self._value(aval)
        self.constants[number] = value
        return number

    def _inline(self, jaxpr: Any, constants: Sequence[Array], arguments: Sequence[int]) -> list[int]:
        """Append the steps of a jaxpr; the numbers of its results."""
        numbers: dict[Any, int] = dict(zip(jaxpr.invars, arguments, strict=True))
        for variable, value in zip(jaxpr.constvars, constants, strict=True):
            numbers[variable] = self._constant(variable.aval, value)

        def number(atom: Any) -> int:
            return self._constant(atom.aval, atom.val) if isinstance(atom, core.Literal) else numbers[atom]

        for equation in jaxpr.eqns:
            inputs = tuple(number(atom) for atom in equation.invars)
            if equation.primitive.name in _TRANSPARENT:
                inner, values = _inner(equation.params)
                outputs = self._inline(inner, values, inputs)
                numbers.update(zip(equation.outvars, outputs, strict=True))
                continue
            kept = tuple(None if _is_dropped(v) else self._value(v.aval) for v in equation.outvars)
            numbers.update((v, n) for v, n in zip(equation.outvars, kept, strict=True) if n is not None)
            self.steps.append(Step(equation.primitive.name, equation.params, inputs, kept, _runner(jaxpr, equation)))
        return [number(atom) for atom in jaxpr.outvars]


def _inner(params: Mapping[str, Any]) -> tuple[Any, Sequence[Array]]:
    """The jaxpr that a call holds, and its constants."""
    found = params["jaxpr"] if "jaxpr" in params else params["call_jaxpr"]
    return (found.jaxpr, found.consts) if hasattr(found, "consts") else (found, ())


def _is_dropped(variable: Any) -> bool:
    return type(variable).__name__ == "DropVar"


def _runner(jaxpr: Any, equation: Any) -> Callable[[Sequence[Array]], Sequence[Array]]:
    """An equation as a function, by a jaxpr of it alone: custom derivatives and settings stay as they were."""
    positions: dict[Any, int] = {}
    for position, atom in enumerate(equation.invars):
        if not isinstance(atom, core.Literal):
            positions.setdefault(atom, position)
    kept = [v for v in equation.outvars if not _is_dropped(v)]
    alone = jaxpr.replace(constvars=[], invars=list(positions), outvars=kept, eqns=[equation], effects=equation.effects)
    run = core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))
    return lambda values: run(*(jnp.asarray(values[p]) for p in positions.values()))


def has_reverse_rule_alone(jaxpr: Any) -> bool:
    """Whether a linearised function went through ``jax.custom_vjp``: it can be transposed and not be applied."""
    return any(e.primitive.name == "custom_lin" or any(map(has_reverse_rule_alone, _held(e.params))) for e in jaxpr.eqns)


def _held(params: Mapping[str, Any]) -> list[Any]:
    """The jaxprs that an operation holds."""
    values = [v for value in params.values() for v in (value if isinstance(value, (tuple, list)) else (value,))]
    opened = [getattr(value, "jaxpr", value) for value in values]
    return [value for value in opened if hasattr(value, "eqns")]
