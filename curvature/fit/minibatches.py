"""Minibatches in an order that one seed makes the same on every backend."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

from ..errors import DataError
from ..problem import Batch, Problem
from ..trees import tree_map


class Minibatches:
    """The data of a problem, an epoch at a time.

    A problem with one batch is shuffled anew every epoch and cut into minibatches of ``batch_size``; the N mod
    ``batch_size`` examples at the end of a shuffle sit that epoch out, so that all steps see equally many. A problem with
    many batches gives its own, in its own order.

    Args:
        problem: model and data.
        batch_size: examples in a minibatch; None for all of them (then there is nothing to shuffle).
        seed: seed of the shuffles.

    Raises:
        DataError: if ``batch_size`` does not lie in 1 … N, or was given beside data that is in batches already.
    """

    def __init__(self, problem: Problem, batch_size: int | None = None, *, seed: int = 0) -> None:
        self._problem = problem
        self._rng = problem.backend.rng(seed)
        self._whole = problem.data.single
        self.batch_size = batch_size
        if batch_size is None:
            return
        if self._whole is None:
            raise DataError("the data is in batches already; leave batch_size out, or give the data as one batch")
        n = self._whole.size
        if not (isinstance(batch_size, int) and 1 <= batch_size <= n):
            raise DataError(f"the batch size lies between 1 and the number of examples, {n}; got {batch_size!r}")

    @property
    def steps(self) -> int | None:
        """Minibatches in an epoch, or None where only a pass over the data would tell."""
        if self._whole is not None:
            return 1 if self.batch_size is None else self._whole.size // self.batch_size
        source = self._problem.data.source
        return len(source) if isinstance(source, Sized) else None

    def epoch(self) -> Iterator[Batch]:
        """The minibatches of the next epoch."""
        whole = self._whole
        if whole is None:
            yield from self._problem.batches()
        elif self.batch_size is None:
            yield whole
        else:
            order = self._rng.permutation(whole.size)
            for start in range(0, whole.size - self.batch_size + 1, self.batch_size):
                yield self._take(whole, order[start : start + self.batch_size])

    def _take(self, whole: Batch, examples: Any) -> Batch:
        xp = self._problem.xp

        def rows(array: Any) -> Any:
            return xp.take(array, examples, axis=0)

        weights = None if whole.weights is None else rows(whole.weights)
        return Batch(tree_map(rows, whole.x), rows(whole.y), weights)
