"""Linear algebra that the standard lacks or leaves open, compiled."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

Array = Any


@jax.jit
def cholesky(a: Array) -> tuple[Array, Array]:
    """(L, whether a is positive definite). JAX fills the factor with NaN where there is none."""
    factor = jnp.linalg.cholesky(symmetrised(a))
    return factor, jnp.all(jnp.isfinite(factor))


@jax.jit
def eigh(a: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors."""
    values, vectors = jnp.linalg.eigh(symmetrised(a), symmetrize_input=False)
    return values, vectors


@partial(jax.jit, static_argnames=("lower", "transposed"))
def solve_triangular(a: Array, b: Array, *, lower: bool, transposed: bool) -> Array:
    """a⁻¹ b, or a⁻ᵀ b; the other triangle is not read."""
    return jax.scipy.linalg.solve_triangular(a, b, lower=lower, trans=1 if transposed else 0)


def symmetrised(a: Array) -> Array:
    """(a + aᵀ) / 2."""
    return (a + jnp.matrix_transpose(a)) * 0.5
