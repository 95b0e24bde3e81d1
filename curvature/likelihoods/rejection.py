"""Rejection sampling of whole arrays: rounds of proposals until every element has taken one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..backend import has_values, namespace
from ..errors import ConvergenceError
from .base import holds

if TYPE_CHECKING:
    from ..backend import Rng

Array = Any


def first_accepted(rng: Rng, like: Array, propose: Callable[[Rng], tuple[Array, Array]], name: str, *, rounds: int) -> Array:
    """The first proposal that is accepted, element by element.

    The rounds stop early once no element is left. They draw from a generator of their own, so that what ``rng`` gives
    afterwards does not depend on how many there were.

    Args:
        like: an array of the shape, dtype and device of the draws.
        propose: from a generator, (proposals, whether each is accepted).
        name: of the distribution.
        rounds: after how many to give up; far beyond what chance needs.

    Raises:
        ConvergenceError: if a proposal was not accepted in any round. (NaN instead, while a program is being compiled.)
    """
    xp = namespace(like)
    own = rng.split(1)[0]
    chosen = xp.full_like(like, float("nan"))
    waiting = xp.isnan(chosen)
    for _ in range(rounds):
        proposals, accepted = propose(own)
        chosen = xp.where(waiting & accepted, proposals, chosen)
        waiting = waiting & ~accepted
        if has_values(waiting) and not holds(waiting):
            return chosen
    if holds(waiting):
        raise ConvergenceError(
            f"{name}: no proposal was accepted in {rounds} rounds for some draws, which chance does not explain; the outputs are "
            f"not finite, or too large for {like.dtype}"
        )
    return chosen
