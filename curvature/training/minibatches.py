"""Minibatches in an order that one seed makes the same on every backend."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import islice, pairwise
from typing import Any

import numpy as np

from ..backend import Rng
from ..errors import DataError
from ..problem import Batch, Problem
from ..trees import tree_map
from .schedule import BatchSize, is_positive_integer


class Minibatches:
    """The data of a problem, an epoch at a time.

    A problem with one batch is shuffled anew every epoch and cut into minibatches:

    - of ``batch_size`` examples. The N mod ``batch_size`` at the end of a shuffle sit that epoch out, so that all steps see
      equally many.
    - where ``batch_size`` is a function, of as many as it says for the step. An epoch ends once all N were drawn; the last two
      minibatches share what is left, so that none is larger than asked for and none is very small.

    A problem with many batches gives its own, in its own order.

    An epoch is a function of the seed, its number, and the steps before it, so that a run can be taken up anywhere. Its order
    is that of ``numpy.random.SeedSequence(seed, spawn_key=(epoch,))``.

    Args:
        problem: model and data.
        batch_size: examples in a minibatch; None for all of them (then there is nothing to shuffle); or a function
            (step from 1, N) -> size, such as ``GrowingBatch``.
        seed: seed of the shuffles, an integer ≥ 0.

    Raises:
        DataError: if ``batch_size`` does not lie in 1 … N, or was given beside data that is in batches already; if ``seed`` is
            no integer ≥ 0.
    """

    def __init__(self, problem: Problem, batch_size: int | BatchSize | None = None, *, seed: int = 0) -> None:
        if not (isinstance(seed, int) and seed >= 0):
            raise DataError(f"seed is an integer ≥ 0, got {seed!r}")
        self._problem = problem
        self._whole = problem.data.single
        self.batch_size = batch_size
        self.seed = seed
        if batch_size is None:
            return
        if self._whole is None:
            raise DataError("the data is in batches already; leave batch_size out, or give the data as one batch")
        if not callable(batch_size):
            self._check(batch_size)

    @property
    def examples(self) -> int | None:
        """N, or None for data in batches."""
        return None if self._whole is None else self._whole.size

    @property
    def steps(self) -> int | None:
        """Minibatches in an epoch, or None where that changes, or only a pass over the data would tell."""
        if callable(self.batch_size):
            return None
        if self._whole is not None:
            return 1 if self.batch_size is None else self._whole.size // self.batch_size
        source = self._problem.data.source
        return len(source) if isinstance(source, Sized) else None

    def ends(self, before: int = 0) -> list[int] | None:
        """How many examples were drawn at the end of each minibatch of an epoch, after ``before`` steps in earlier ones.

        Data in batches counts each as one; None where their number is not known.
        """
        steps = self.steps
        if callable(self.batch_size):
            return self._ends(self.batch_size, before)
        size = self.batch_size or 1
        return None if steps is None else [size * k for k in range(1, steps + 1)]

    def epoch(self, number: int, *, before: int = 0, skip: int = 0) -> Iterator[Batch]:
        """The minibatches of an epoch.

        Args:
            number: which epoch, from 1.
            before: steps taken in earlier epochs: they matter to a ``batch_size`` that is a function.
            skip: minibatches to leave out at the beginning.
        """
        whole = self._whole
        if whole is None:
            yield from islice(self._problem.batches(), skip, None)
        elif self.batch_size is None:
            yield from [whole][skip:]
        else:
            ends = self.ends(before)
            assert ends is not None
            # Keyed by the epoch, not drawn one after the other: epoch 100 needs none of the 99 before it.
            sequence = np.random.SeedSequence(self.seed, spawn_key=(number,))
            order = Rng(self._problem.backend, sequence).permutation(whole.size)
            for start, end in islice(pairwise([0, *ends]), skip, None):
                # All examples, in whatever order, are the data itself.
                yield whole if end - start == whole.size else self._take(whole, order[start:end])

    def _ends(self, size: BatchSize, before: int) -> list[int]:
        assert self._whole is not None
        ends: list[int] = []
        left = n = self._whole.size
        while left:
            wanted = self._check(size(before + len(ends) + 1, n))
            if wanted < left < 2 * wanted:
                wanted = (left + 1) // 2
            left -= min(wanted, left)
            ends.append(n - left)
        return ends

    def _check(self, size: Any) -> int:
        assert self._whole is not None
        n = self._whole.size
        if not (is_positive_integer(size) and size <= n):
            raise DataError(f"the batch size lies between 1 and the number of examples, {n}; got {size!r}")
        checked: int = size
        return checked

    def _take(self, whole: Batch, examples: Any) -> Batch:
        xp = self._problem.xp

        def rows(array: Any) -> Any:
            return xp.take(array, examples, axis=0)

        weights = None if whole.weights is None else rows(whole.weights)
        return Batch(tree_map(rows, whole.x), rows(whole.y), weights)
