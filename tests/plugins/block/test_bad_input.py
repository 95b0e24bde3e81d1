"""What is refused, before any work: the thing, the cause and the remedy are named."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense, MatrixFree


@pytest.fixture
def matrix(tasks):
    return cv.Fisher(tasks(cv.backend("numpy"), "mlp"))


@pytest.mark.parametrize(
    ("partition", "message"),
    [
        ({"all": ["a.w", "a.b", "z.w"]}, "the partition leaves out 'z.b'; every parameter belongs to one block"),
        ({"one": ["a.*", "z.b"], "two": ["z.*"]}, "parameter 'z.b' is in block 'two' and in block 'one'"),
        ({"one": ["a.*", "a.w"], "two": ["z.*"]}, "parameter 'a.w' is in block 'one' twice"),
        ({"one": ["a.w", "a.bb"], "two": "z.*"}, r"block 'one': no parameter is called 'a.bb'; did you mean 'a.b'\?"),
        ({"one": "q*", "two": "z.*"}, r"no parameter is called 'q\*' \(there are: a.b, a.w, z.b, z.w\)"),
        ([["a.*"], []], "block 1 takes the names or patterns of at least one parameter"),
        ({"one": ["a.*", "z.*"], "two": []}, "block 'two' takes the names"),
        (["a.w", "a.b"], r"or \[\[parameters of a block\], …\]; got a list of names"),
        ([["a.*", "z.*"], ["a.*", "z.*"]], r"two blocks have the name 'a.\*\+z.\*'"),
        ({}, "a partition needs at least one block"),
        ("layers", "there is no partition 'layers'; did you mean 'layer'"),
        ("rows", r"there is no partition 'rows' \(partitions: layer, parameter, output-unit, auto"),
        (np.zeros(23), "whole numbers, got an array of float64"),
    ],
)
def test_partitions(matrix, partition, message):
    with pytest.raises(cv.DataError, match=message):
        cv.approximate(matrix, "block-diagonal", partition=partition)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(22, dtype=int), r"labels have the shape \(22,\); give \(23,\)"),
        ([0, 1, 2], r"labels have the shape \(3,\)"),
        ({"a": {"w": np.zeros((4, 3), dtype=int)}}, "structure"),
        (
            {"a": {"w": np.zeros((4, 3), int), "b": np.zeros(3, int)}, "z": {"w": np.zeros((3, 2), int), "b": np.zeros(2, int)}},
            r"'a.w' has shape \(4, 3\), expected \(3, 4\)",
        ),
    ],
)
def test_labels_of_the_wrong_shape(matrix, labels, message):
    with pytest.raises(cv.ShapeError, match=message):
        cv.approximate(matrix, "block-diagonal", partition=labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": 0}, "memory is a number of bytes > 0, got 0"),
        ({"max_block": 0}, "max_block is a number of rows > 0"),
        ({"coupling": -0.1}, "coupling is a threshold ≥ 0"),
        ({"probes": 1}, "at least 2 probes"),
    ],
)
def test_options(options, message):
    with pytest.raises(cv.DataError, match=message):
        cv.approximation("block-diagonal", **options)


def test_a_plan_of_other_parameters(matrix, tasks):
    other = cv.Fisher(tasks(cv.backend("numpy"), "tied"))
    plan = cv.approximate(other, "block-diagonal", partition="auto").report.plan
    with pytest.raises(cv.DataError, match=r"the plan is one for other parameters: b, w; these are a.b, a.w, z.b, z.w"):
        cv.approximate(matrix, "block-diagonal", partition=plan)


def test_blocks_that_are_too_large_name_what_fits(matrix):
    with pytest.raises(
        cv.UnsupportedError,
        match=r"block 'a.w\+a.b' would be 15 × 15 \(1.8 kB\), above max_block=14 rows; partition='parameter' fits: its largest "
        r"block has 12 rows, all of them take 1.54 kB; or raise max_block",
    ):
        cv.approximate(matrix, "block-diagonal", max_block=14)
    with pytest.raises(cv.UnsupportedError, match=r"partition='output-unit' fits: its largest block has 5 rows"):
        cv.approximate(matrix, "block-diagonal", max_block=5)
    with pytest.raises(cv.UnsupportedError, match=r"the diagonal alone, curvature.approximate\(A, 'diagonal'\)"):
        cv.approximate(matrix, "block-diagonal", max_block=4)
    with pytest.raises(
        cv.UnsupportedError, match=r"the blocks would take 2.31 kB, above memory=2000; partition='parameter' fits"
    ):
        cv.approximate(matrix, "block-diagonal", memory=2000)


def test_a_large_layer_is_refused_before_any_work():
    params = {"w": np.zeros((784, 1000)), "b": np.zeros(1000)}
    data = (np.zeros((2, 784)), np.zeros(2, dtype=int))
    matrix = cv.Fisher(cv.Problem(cv.Model(lambda p, x: x @ p["w"] + p["b"], params), cv.Categorical(), data))
    with pytest.raises(cv.UnsupportedError, match=r"block 'w\+b' would be 785000 × 785000 \(4.93e\+03 GB\).*'output-unit' fits"):
        cv.approximate(matrix, "block-diagonal")


def test_products_are_counted_before_they_are_taken():
    def product(v):
        raise AssertionError("no product should be taken")

    operator = MatrixFree(product, 30, dtype=np.dtype("float64"), backend=cv.backend("numpy"))
    with pytest.raises(cv.UnsupportedError, match=r"of 30 parameters take 30 products.*above max_products=29"):
        cv.approximate(operator, "block-diagonal", partition="parameter", max_products=29)


@pytest.mark.parametrize("name", ["exact", "block-diagonal"])
def test_operators_that_are_not_symmetric(name):
    operator = Dense(np.triu(np.ones((3, 3))))
    options = {} if name == "exact" else {"partition": "parameter"}
    with pytest.raises(cv.NotSymmetricError, match=rf"'{name}' is defined for symmetric operators"):
        cv.approximate(operator, name, **options)
