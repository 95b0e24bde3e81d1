"""Flat vectors and trees of parameters, one into the other by one program: JAX compiles an operation for each leaf otherwise."""

from __future__ import annotations

from functools import cache

import jax

from curvature.trees import fuse, joined, parted

_join = jax.jit(joined, static_argnums=0)
_part = jax.jit(parted, static_argnums=(0, 2, 3))


@cache
def install() -> None:
    """For arrays that have values, also where this is first called in a program that is being compiled; what is being traced is
    part of a program anyway.
    """
    with jax.ensure_compile_time_eval():
        fuse(type(jax.numpy.zeros(0)), _join, _part)
