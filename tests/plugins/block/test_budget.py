"""The choice of blocks on plain numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curvature_block.budget import levels_of, merged, select


def test_levels_go_from_coarse_to_fine():
    assert [(level.kind, level.numbers, level.largest) for level in levels_of([12, 4], 4)] == [
        ("dense", 256, 16),
        ("parameter", 160, 12),
        ("output-unit", 64, 4),
        ("diagonal", 16, 1),
    ]
    assert [level.kind for level in levels_of([5], 1)] == ["dense", "diagonal"]


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=3), min_size=1, max_size=5),
    share=st.floats(0, 1),
    max_block=st.integers(1, 20),
    seed=st.integers(0, 100),
)
def test_the_budget_and_the_largest_block_are_kept(sizes, share, max_block, seed):
    rng = np.random.default_rng(seed)
    levels = [levels_of(of_block, int(rng.integers(1, 4))) for of_block in sizes]
    least, most = (sum(options[at].numbers for options in levels) for at in (-1, 0))
    budget = int(least + share * (most - least))
    chosen = select(levels, list(rng.uniform(0, 1, len(levels))), budget, max_block)
    assert sum(level.numbers for level in chosen) <= budget
    assert all(level.largest <= max_block for level in chosen)
    if budget == most and max_block >= max(options[0].largest for options in levels):
        assert all(level.kind == "dense" for level in chosen)


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(1, 6),
    threshold=st.floats(0, 1),
    left=st.integers(0, 200),
    max_block=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_groups_stop_where_nothing_more_may_be_merged(count, threshold, left, max_block, seed):
    """Every block is in one group, the limits hold, and no allowed pair is left above the threshold."""
    rng = np.random.default_rng(seed)
    half = rng.uniform(0, 1, (count, count))
    squared, sizes = half + half.T, [int(n) for n in rng.integers(1, 6, count)]
    mergeable = [bool(b) for b in rng.integers(0, 4, count) > 0]
    groups = merged(squared, sizes, mergeable, threshold=threshold, left=left, max_block=max_block)
    assert sorted(i for group in groups for i in group) == list(range(count))
    total = [sum(sizes[i] for i in group) for group in groups]
    spent = sum(n * n for n in total) - sum(n * n for n in sizes)
    assert spent <= left
    assert all(len(group) == 1 or n <= max_block for group, n in zip(groups, total, strict=True))
    assert all(len(group) == 1 or all(mergeable[i] for i in group) for group in groups)
    for a in range(len(groups)):
        for b in range(a):
            mass = [np.sqrt(squared[np.ix_(groups[i], groups[j])].sum()) for i, j in ((a, b), (a, a), (b, b))]
            allowed = all(mergeable[i] for i in [*groups[a], *groups[b]])
            allowed &= total[a] + total[b] <= max_block and 2 * total[a] * total[b] <= left - spent
            assert not allowed or mass[0] / np.sqrt(mass[1] * mass[2]) <= threshold + 1e-12


def test_the_most_coupled_pair_is_first():
    squared = np.array([[1.0, 0.01, 0.04], [0.01, 1.0, 0.09], [0.04, 0.09, 1.0]])
    options = {"mergeable": [True] * 3, "max_block": 100}
    assert merged(squared, [2, 3, 4], threshold=0.25, left=1000, **options) == [[0], [1, 2]]
    assert merged(squared, [2, 3, 4], threshold=0.25, left=23, **options) == [[0], [1], [2]]
    assert merged(squared, [2, 3, 4], threshold=0.15, left=23, **options) == [[0, 2], [1]]
