"""Derivatives by JAX: compiled once where the function's arrays are in view, operation by operation where they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from curvature.backend import Closure

from .errors import traceable
from .packed import Packed, packed
from .program import has_reverse_rule_alone

Array = Any
Tree = Any
Push = Callable[[Tree], Tree]
Pull = Callable[[Tree], Tree]


class Function:
    """A function of one tree, with operations on it that run compiled if it is a ``Closure`` and as they are if not.

    What is compiled lives with the model and is found by the closure's key. Parameters, data and residuals are its
    arguments, so it holds no array, and serves the caller's own ``jit``, ``grad`` and ``vmap`` as well.
    """

    def __init__(self, f: Callable[[Tree], Tree]) -> None:
        self._closure = f if isinstance(f, Closure) else None
        self._f = packed(f) if self._closure is None else packed(self._closure.keyed.function)
        self._data = () if self._closure is None else (Packed.of(self._closure.data),)

    def run(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        """``operation(f, *arguments)``, f from a ``Packed`` to a ``Packed``."""
        function = self._f

        def bound(data: tuple[Packed, ...], *given: Any) -> Any:
            return operation(lambda params: function(params, *data), *given)

        with traceable():
            return self._compiled(operation, lambda: bound)(self._data, *arguments)

    def again(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        """``operation(*arguments)``, on what an earlier operation left."""
        return self._compiled(operation, lambda: operation)(*arguments)

    def _compiled(self, operation: Callable[..., Any], make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        if self._closure is None:
            return make()
        keyed = self._closure.keyed
        slot = ("jax", operation, keyed.key)
        if slot not in keyed.compiled:
            # jax.jit keeps what it compiled by function object: a new one for each slot is dropped with the model.
            run = make()
            keyed.compiled[slot] = jax.jit(lambda *arguments: run(*arguments))
        return keyed.compiled[slot]  # type: ignore[no-any-return]


# Operations ------------------------------------------------------------------------------------------
#
# A linear map comes out of a compiled function as a pytree whose leaves are its residuals, and goes into the next.


def _evaluate(f: Any, params: Packed) -> Packed:
    return f(params)


def _value_and_gradient(f: Any, params: Packed) -> tuple[Array, Packed]:
    return jax.value_and_grad(lambda p: f(p).tree)(params)


def _hvp(f: Any, params: Packed, tangent: Packed) -> Packed:
    return jax.jvp(jax.grad(lambda p: f(p).tree), (params,), (tangent,))[1]


def _jvp(f: Any, params: Packed, tangent: Packed) -> tuple[Packed, Packed]:
    value, push = _linearize(f, params)
    return value, push(tangent)


def _vjp(f: Any, params: Packed) -> tuple[Packed, Any]:
    return jax.vjp(f, params)


def _linearize(f: Any, params: Packed) -> tuple[Packed, Any]:
    value, push = jax.linearize(f, params)
    if not has_reverse_rule_alone(jax.make_jaxpr(push)(params).jaxpr):
        return value, push
    # Jᵀ is linear, and the transpose of it is J.
    value, back = jax.vjp(f, params)
    return value, jax.tree_util.Partial(_transposed, jax.tree_util.Partial(_first, back), value)


def _first(back: Any, cotangent: Packed) -> Packed:
    return back(cotangent)[0]


def _jvp_and_pull(f: Any, params: Packed, tangent: Packed) -> tuple[Packed, Packed, Any]:
    value, push = _linearize(f, params)
    return value, push(tangent), push


def _apply(linear: Any, argument: Packed) -> Any:
    return linear(argument)


def _transposed(push: Any, like: Packed, cotangent: Packed) -> Packed:
    (pulled,) = jax.linear_transpose(push, like)(cotangent)
    return pulled


# What backends give ------------------------------------------------------------------------------------


def evaluate(f: Callable[[Tree], Tree], params: Tree) -> Tree:
    """f(params)."""
    return Function(f).run(_evaluate, Packed.of(params)).tree


def vjp(f: Callable[[Tree], Tree], params: Tree) -> tuple[Tree, Pull]:
    """(f(params), pull)."""
    function = Function(f)
    value, linear = function.run(_vjp, Packed.of(params))
    return value.tree, lambda u: function.again(_apply, linear, _like(value, u))[0].tree


def jvp(f: Callable[[Tree], Tree], params: Tree, tangent: Tree) -> tuple[Tree, Tree]:
    """(f(params), J tangent)."""
    point = Packed.of(params)
    value, pushed = Function(f).run(_jvp, point, _like(point, tangent))
    return value.tree, pushed.tree


def linearize(f: Callable[[Tree], Tree], params: Tree) -> tuple[Tree, Push, Pull]:
    """(f(params), push, pull)."""
    function, point = Function(f), Packed.of(params)
    value, linear = function.run(_linearize, point)

    def push(v: Tree) -> Tree:
        return function.again(_apply, linear, _like(point, v)).tree

    def pull(u: Tree) -> Tree:
        return function.again(_transposed, linear, point, _like(value, u)).tree

    return value.tree, push, pull


def jvp_and_pull(f: Callable[[Tree], Tree], params: Tree, tangent: Tree) -> tuple[Tree, Tree, Pull]:
    """(f(params), J tangent, pull)."""
    function, point = Function(f), Packed.of(params)
    value, pushed, linear = function.run(_jvp_and_pull, point, _like(point, tangent))
    return value.tree, pushed.tree, lambda u: function.again(_transposed, linear, point, _like(value, u)).tree


def value_and_gradient(f: Callable[[Tree], Array], params: Tree) -> tuple[Array, Tree]:
    """(f(params), ∇f(params))."""
    value, gradient = Function(f).run(_value_and_gradient, Packed.of(params))
    return value, gradient.tree


def hvp(f: Callable[[Tree], Array], params: Tree, tangent: Tree) -> Tree:
    """∇²f(params) · tangent, forward over reverse (Pearlmutter 1994)."""
    point = Packed.of(params)
    return Function(f).run(_hvp, point, _like(point, tangent)).tree


def _like(model: Packed, tree: Tree) -> Packed:
    """``tree`` packed, its leaves in the dtypes of ``model``: JAX demands it of tangents and cotangents."""
    given = Packed.of(tree)
    return Packed(
        [a if a.dtype == m.dtype else a.astype(m.dtype) for a, m in zip(given.leaves, model.leaves, strict=True)], model.structure
    )
