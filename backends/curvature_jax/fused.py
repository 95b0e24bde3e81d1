"""Flat vectors and trees of parameters, one into the other by one program: JAX compiles an operation for each leaf otherwise."""

from __future__ import annotations

import jax

from curvature.trees import fuse, joined, parted

_join = jax.jit(joined, static_argnums=0)
_part = jax.jit(parted, static_argnums=(0, 2, 3))


def install() -> None:
    """For arrays that have values; what is being traced is part of a program anyway."""
    fuse(type(jax.numpy.zeros(0)), _join, _part)
