"""Minibatches that change their size: the formula, and that an epoch still shows every example once."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import curvature as cv

SIZES = st.integers(1, 300)
STEPS = st.integers(1, 60)


def numbered(n: int) -> cv.Problem:
    """Example i is the number i."""
    x = np.arange(float(n))
    return cv.Problem(cv.Model(lambda w, x: x[:, None] * w, np.ones(1)), cv.Gaussian(1.0), (x, x[:, None]))


def test_the_sizes_of_martens_and_grosse() -> None:
    size, n = cv.GrowingBatch(first=1000, full_at=500), 60000
    b = 499 / math.log(60)
    assert [size(k, n) for k in (1, 2, 100, 499)] == [round(1000 * math.exp((k - 1) / b)) for k in (1, 2, 100, 499)]
    assert size(1, n) == 1000
    assert size(499, n) < n
    assert size(500, n) == size(501, n) == size(10**9, n) == n


@given(first=SIZES, full_at=STEPS, n=SIZES)
@example(first=5, full_at=1, n=10)
def test_they_grow_from_the_first_to_all(first: int, full_at: int, n: int) -> None:
    size = cv.GrowingBatch(first, full_at)
    sizes = [size(k, n) for k in range(1, full_at + 3)]
    assert sizes == sorted(sizes)
    assert 1 <= sizes[0] <= sizes[-1] == n
    assert full_at == 1 or sizes[0] == min(first, n)
    assert sizes[full_at - 1] == n


@settings(deadline=None)
@given(first=SIZES, full_at=STEPS, n=SIZES, seed=st.integers(0, 9), before=st.integers(0, 70))
def test_an_epoch_shows_every_example_once(first: int, full_at: int, n: int, seed: int, before: int) -> None:
    size = cv.GrowingBatch(first, full_at)
    minibatches = cv.Minibatches(numbered(n), size, seed=seed)
    batches = [batch.x.astype(int).tolist() for batch in minibatches.epoch(2, before=before)]
    assert sorted(chain(*batches)) == list(range(n))
    wanted = [size(before + k, n) for k in range(1, len(batches) + 1)]
    # None is larger than asked for, all but the last two are as asked for, and these two are much alike.
    assert all(len(batch) <= m for batch, m in zip(batches, wanted, strict=True))
    assert [len(batch) for batch in batches[:-2]] == wanted[:-2]
    assert 2 * len(batches[-1]) >= min(len(batches[0]), n) - 1
    ends = minibatches.ends(before)
    assert ends == np.cumsum([len(batch) for batch in batches]).tolist()


@given(n=SIZES, data=st.data())
def test_of_one_size_all_examples_but_the_remainder(n: int, data: Any) -> None:
    size = data.draw(st.integers(1, n))
    batches = [batch.x.astype(int).tolist() for batch in cv.Minibatches(numbered(n), size).epoch(1)]
    assert [len(batch) for batch in batches] == [size] * (n // size)
    assert len({*chain(*batches)}) == n - n % size


def test_the_run_goes_from_small_to_all(problem: cv.Problem) -> None:
    sizes: list[Any] = []

    class Watched(cv.optim.GradientDescent):
        def step(self, params: Any, state: Any, data: Any = None) -> Any:
            sizes.append(data if data is None else data.size)
            return super().step(params, state, data)

    shares: list[float] = []
    growing = cv.GrowingBatch(first=20, full_at=9)
    follow = [lambda event: shares.append(event.progress)]
    record = cv.fit(problem, Watched(0.1), epochs=5, batch_size=growing, callbacks=follow)
    assert sizes[:5] == [20, 27, 36, 47, 35]  # 63 asked for, and 70 left: two share them
    assert sizes[-1] is None  # all examples are the problem's own data
    assert [point.epoch for point in record.curve] == list(range(6))
    assert record.steps == len(sizes) < 5 * 10
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert shares[0] == pytest.approx(20 / 200 / 5)


@pytest.mark.parametrize("options", [{"first": 0, "full_at": 5}, {"first": 5, "full_at": 0}, {"first": 2.5, "full_at": 5}])
def test_what_cannot_be_is_refused(options: Any) -> None:
    with pytest.raises(cv.DataError, match="of a GrowingBatch is a positive integer"):
        cv.GrowingBatch(**options)
