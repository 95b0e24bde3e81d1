"""Partitions of single entries, and block-diagonal operators over them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, EntryPartition, StackedBlocks

SPACE = cv.ParameterSpace.of({"b": np.zeros(2), "w": np.zeros((2, 2))})


def spd(rng, n):
    a = rng.standard_normal((n, n))
    return a @ a.T + np.eye(n)


@settings(deadline=None, max_examples=40)
@given(labels=st.lists(st.integers(-3, 3), min_size=1, max_size=12), seed=st.integers(0, 100))
def test_labels_gather_their_entries_and_scatter_undoes_it(labels, seed):
    space = cv.ParameterSpace.of([np.zeros(len(labels))])
    partition = EntryPartition.from_labels(space, np.array(labels))
    v = np.random.default_rng(seed).standard_normal((len(labels), 2))
    parts = partition.gather(np, v)
    for block, part in zip(partition.blocks, parts, strict=True):
        np.testing.assert_array_equal(part, v[np.array(labels) == int(block.name)])
    np.testing.assert_array_equal(partition.scatter(np, parts), v)
    assert partition == EntryPartition.from_labels(space, [np.array(labels)])
    assert hash(partition) == hash(EntryPartition.from_labels(space, np.array(labels)))


def test_every_operation_is_that_of_the_dense_matrix(be, generator):
    partition = EntryPartition(SPACE, {"one": [4, 0, 2], "two": [1, 5, 3]})
    a, b = spd(generator, 3), spd(generator, 3)
    operator = BlockDiagonal({"one": Dense(be.asarray(a)), "two": Dense(be.asarray(b))}, partition=partition)
    dense = np.zeros((6, 6))
    dense[np.ix_([4, 0, 2], [4, 0, 2])] = a
    dense[np.ix_([1, 5, 3], [1, 5, 3])] = b
    v = generator.standard_normal((6, 2))
    checks = {
        "dense": (operator.to_dense(), dense),
        "@": (operator @ be.asarray(v), dense @ v),
        "solve": (operator.solve(be.asarray(v), damping=0.1), np.linalg.solve(dense + 0.1 * np.eye(6), v)),
        "inverse": (operator.inverse().to_dense(), np.linalg.inv(dense)),
        "diagonal": (operator.diagonal(), np.diag(dense)),
        "logdet": (operator.logdet(), np.linalg.slogdet(dense)[1]),
        "values": (operator.eigh()[0], np.linalg.eigvalsh(dense)),
        "block": (operator.block("w").to_dense(), dense[2:, 2:]),
        "named": (operator.block("two").to_dense(), b),
        "sum": ((operator + operator.inverse()).to_dense(), dense + np.linalg.inv(dense)),
    }
    for name, (found, expected) in checks.items():
        np.testing.assert_allclose(be.to_numpy(found), expected, rtol=1e-9, atol=1e-10, err_msg=name)
    values, vectors = (be.to_numpy(x) for x in operator.eigh(2))
    np.testing.assert_allclose(dense @ vectors, vectors * values, atol=1e-10)
    moved = operator.to("numpy")
    np.testing.assert_allclose(moved.to_dense(), dense)
    with pytest.raises(cv.ShapeError, match="no parameter is called 'v'"):
        operator.block("v")


def test_labels_may_be_a_tree_of_any_backend(be):
    labels = {"b": be.asarray(np.array([0, 1])), "w": be.asarray(np.array([[1, 0], [2, 2]]))}
    partition = EntryPartition.from_labels(SPACE, labels)
    assert {name: list(at) for name, at in partition.entries.items()} == {"0": [0, 3], "1": [1, 2], "2": [4, 5]}
    assert partition == EntryPartition.from_labels(SPACE, [0, 1, 1, 0, 2, 2])
    assert partition != EntryPartition.from_labels(SPACE, [0, 1, 0, 1, 2, 2])


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.zeros(5, dtype=int), cv.ShapeError, r"labels have the shape \(5,\); give \(6,\)"),
        (np.zeros((2, 3), dtype=int), cv.ShapeError, r"labels have the shape \(2, 3\)"),
        (np.zeros(6), cv.DataError, "whole numbers, got an array of float64"),
        ({"b": np.zeros(2, dtype=int), "w": np.zeros((2, 3), dtype=int)}, cv.ShapeError, r"'w' has shape \(2, 3\)"),
        ({"b": np.zeros(2, dtype=int)}, cv.ShapeError, "structure"),
    ],
)
def test_wrong_labels_are_named(labels, error, message):
    with pytest.raises(error, match=message):
        EntryPartition.from_labels(SPACE, labels)


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ({"a": [0, 1, 2]}, cv.ShapeError, r"misses 3, such as 'w'\[0, 1\]"),
        ({"a": [0, 1, 2, 3], "b": [3, 4, 5]}, cv.ShapeError, r"repeats 1, such as 'w'\[0, 1\]"),
        ({"a": range(6), "b": []}, cv.DataError, "the entries of block 'b' are a vector of at least one"),
        ({"a": [0, 1, 2, 3, 4, 6]}, cv.DataError, r"block 'a' lie in 0 … 5, got 0 … 6"),
        ({"a": [0.5, 1.0]}, cv.DataError, "block 'a'"),
    ],
)
def test_wrong_entries_are_named(entries, error, message):
    with pytest.raises(error, match=message):
        EntryPartition(SPACE, entries)


def test_blocks_of_one_size_can_share_a_place(be, generator):
    partition = EntryPartition(SPACE, {"pairs": [0, 5, 1, 4], "rest": [2, 3]})
    blocks = np.stack([spd(generator, 2), spd(generator, 2)])
    rest = spd(generator, 2)
    operator = BlockDiagonal({"pairs": StackedBlocks(be.asarray(blocks)), "rest": Dense(be.asarray(rest))}, partition=partition)
    dense = np.zeros((6, 6))
    for at, block in (([0, 5], blocks[0]), ([1, 4], blocks[1]), ([2, 3], rest)):
        dense[np.ix_(at, at)] = block
    np.testing.assert_allclose(be.to_numpy(operator.to_dense()), dense)
