"""JAX's own errors about values that are not there yet, said with the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax

import curvature as cv

_NO_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
)


@contextmanager
def traceable() -> Iterator[None]:
    """Around a call of the user's function on arrays without values.

    Raises:
        ModelError: if the function asked for values.
    """
    try:
        yield
    except _NO_VALUES as error:
        first = str(error).splitlines()[0]
        raise cv.ModelError(
            f"the model asks for the values of an array while JAX compiles it ({type(error).__name__}: {first}). Write branches "
            f"on values with jnp.where or jax.lax.cond, masks with jnp.where, loops with jax.lax.while_loop, and keep NumPy, "
            f"float() and .item() out of the model"
        ) from error
