"""Block-diagonal approximations are the orthogonal projections of the dense matrix, whatever the blocks and the layers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, Diagonal, StackedBlocks

KINDS = [cv.Fisher, cv.GGN, cv.EmpiricalFisher, lambda p: cv.MonteCarloFisher(p, samples=2, seed=1), cv.Hessian]
IDS = ["fisher", "ggn", "empirical", "monte carlo", "hessian"]
CASES = ["mlp", "pooled", "tied", "repeated", "convolution", "groups", "embedding", "scale and shift", "general"]


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13 + 1e-11 * np.abs(expected).max())


def labels_of(tasks, problem, case, partition):
    of = {"layer": tasks.layers, "parameter": tasks.parameters, "output-unit": lambda p: tasks.units(p, case)}
    return of[partition](problem)


def quietly(function):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.FallbackWarning)
        return function()


@pytest.mark.parametrize("partition", ["layer", "parameter", "output-unit"])
@pytest.mark.parametrize("case", CASES)
def test_blocks_of_every_kind_of_layer(be, tasks, case, partition):
    problem = tasks(be, case, weights=True)
    labels = labels_of(tasks, problem, case, partition)
    for kind in (cv.Fisher, cv.Hessian) if be.name == "numpy" else (cv.Fisher,):
        matrix = kind(problem)
        blocks = quietly(lambda matrix=matrix: cv.approximate(matrix, "block-diagonal", partition=partition))
        close(tasks.dense(blocks), tasks.projection(tasks.dense(matrix), labels))


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
@pytest.mark.parametrize("partition", ["layer", "parameter", "output-unit"])
def test_every_matrix_in_several_weighted_batches(tasks, kind, partition):
    be = cv.backend("numpy")
    for case in ("mlp", "pooled"):
        problem = tasks(be, case, weights=True, batches=[slice(0, 1), slice(1, 3), slice(3, None)])
        matrix = kind(problem)
        blocks = cv.approximate(matrix, "block-diagonal", partition=partition)
        close(tasks.dense(blocks), tasks.projection(tasks.dense(matrix), labels_of(tasks, problem, case, partition)))


def test_one_output_and_one_example(tasks):
    """One column and one example: the sizes for which shortcuts differ."""
    be, rng = cv.backend("numpy"), np.random.default_rng(1)
    params = {"w": rng.standard_normal((1, 3)), "b": rng.standard_normal(1)}

    def apply(p, x):
        return x @ cv.namespace(x).matrix_transpose(p["w"]) + p["b"]

    for n in (1, 4):
        data = (rng.standard_normal((n, 3)), rng.standard_normal((n, 1)))
        problem = cv.Problem(cv.Model(apply, params, backend=be), cv.Gaussian(), data)
        dense = tasks.dense(cv.Fisher(problem))
        for partition, labels in (("layer", [0] * 4), ("parameter", [0, 1, 1, 1]), ("output-unit", [0] * 4)):
            blocks = cv.approximate(cv.Fisher(problem), "block-diagonal", partition=partition)
            close(tasks.dense(blocks), tasks.projection(dense, np.array(labels)))


@pytest.mark.parametrize("kind", [cv.Fisher, cv.Hessian])
def test_it_is_the_orthogonal_projection(be, tasks, kind):
    """<F - B, B> = 0 and ‖F - B‖² = ‖F‖² - ‖B‖², and no other block-diagonal matrix is nearer."""
    problem = tasks(be, "mlp")
    matrix = kind(problem)
    dense = tasks.dense(matrix)
    rng = np.random.default_rng(3)
    for partition in ("layer", "parameter", "output-unit"):
        b = tasks.dense(cv.approximate(matrix, "block-diagonal", partition=partition))
        error, scale = dense - b, np.sum(dense**2)
        assert abs(np.sum(error * b)) < 1e-12 * scale
        assert abs(np.sum(error**2) - (scale - np.sum(b**2))) < 1e-12 * scale
        labels = labels_of(tasks, problem, "mlp", partition)
        other = b + tasks.projection(rng.standard_normal(b.shape), labels)
        assert np.sum((dense - other) ** 2) > np.sum(error**2)


def test_finer_partitions_are_farther_away(be, tasks):
    """exact ⊃ layer ⊃ parameter ⊃ diagonal, and layer ⊃ output-unit ⊃ diagonal; strictly here."""
    matrix = cv.Fisher(tasks(be, "mlp"))
    dense = tasks.dense(matrix)

    def error(name, **options):
        return np.linalg.norm(dense - tasks.dense(cv.approximate(matrix, name, **options)))

    def blocks(partition):
        return error("block-diagonal", partition=partition)

    assert error("exact") < 1e-12 < blocks("layer") < blocks("parameter") < error("diagonal")
    assert blocks("layer") < blocks("output-unit") < error("diagonal")


def test_the_inverse_is_the_inverse_of_each_block(be, tasks):
    matrix = cv.Fisher(tasks(be, "mlp"))
    for partition in ("layer", "output-unit"):
        blocks = cv.approximate(matrix, "block-diagonal", partition=partition)
        inverse = blocks.inverse(0.1)
        assert isinstance(inverse, BlockDiagonal)
        for name, block in blocks.blocks.items():
            shifted = tasks.dense(block) + 0.1 * np.eye(block.shape[0])
            close(tasks.dense(inverse.block(name)), np.linalg.inv(shifted))
        v = be.asarray(np.arange(float(blocks.shape[0])))
        close(be.to_numpy(blocks.solve(v, damping=0.1)), be.to_numpy(inverse @ v))


def test_structures_and_names(be, tasks):
    problem = tasks(be, "scale and shift")
    units = cv.approximate(cv.Fisher(problem), "block-diagonal", partition="output-unit")
    assert list(units.blocks) == [layer.name for layer in problem.structure.layers]
    assert {block.structure for block in units.blocks.values()} == {"stacked-blocks"}
    assert tuple(units.blocks["scale+shift"].array.shape) == (3, 2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(units.inverse(0.1).blocks["scale+shift"], StackedBlocks)
        assert isinstance((units + units).blocks["scale+shift"], StackedBlocks)
    layers = cv.approximate(cv.Fisher(problem), "block-diagonal")
    assert isinstance(layers.blocks["scale+shift"], Dense)
    kfac = cv.approximate(cv.Fisher(problem), "kfac")
    assert kfac.partition == layers.partition
    tied = cv.approximate(cv.Fisher(tasks(be, "tied")), "block-diagonal", partition="output-unit")
    assert isinstance(tied.blocks["b"], Diagonal)
    assert isinstance(tied.blocks["w"], Dense)


# Partitions of one's own --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [cv.Fisher, cv.Hessian])
def test_named_groups_of_parameters_of_several_layers(be, tasks, kind):
    problem = tasks(be, "mlp", weights=True)
    matrix = kind(problem)
    dense = tasks.dense(matrix)
    names = problem.space.names
    for partition, groups in (
        ({"first": "a.*", "last": ["z.w", "z.b"]}, [0, 0, 1, 1]),
        ({"weights": ["*.w"], "biases": ["*.b"]}, [0, 1, 0, 1]),
        ([["z.w", "a.b"], ["a.w"], ["z.b"]], [0, 1, 2, 0]),
        ({"all": "*"}, [0, 0, 0, 0]),
    ):
        assert names == ("a.b", "a.w", "z.b", "z.w")
        sizes = problem.space.sizes
        labels = np.repeat(groups, sizes)
        blocks = cv.approximate(matrix, "block-diagonal", partition=partition)
        close(tasks.dense(blocks), tasks.projection(dense, labels))
        if isinstance(partition, dict):
            assert list(blocks.blocks) == list(partition)


@settings(deadline=None, max_examples=25)
@given(labels=st.lists(st.integers(0, 5), min_size=23, max_size=23), seed=st.integers(0, 50), hessian=st.booleans())
def test_any_labels_of_entries(labels, seed, hessian):
    rng = np.random.default_rng(seed)
    params = {"a": {"w": rng.standard_normal((3, 4)), "b": rng.standard_normal(3)}, "z": {"w": rng.standard_normal((3, 2))}}
    params["z"]["b"] = rng.standard_normal(2)

    def apply(p, x):
        xp = cv.namespace(x)
        return xp.tanh(x @ xp.matrix_transpose(p["a"]["w"]) + p["a"]["b"]) @ p["z"]["w"] + p["z"]["b"]

    problem = cv.Problem(cv.Model(apply, params), cv.Categorical(), (rng.standard_normal((4, 4)), rng.integers(0, 2, 4)))
    matrix = (cv.Hessian if hessian else cv.GGN)(problem)
    dense = matrix.to_dense()
    blocks = cv.approximate(matrix, "block-diagonal", partition=labels)
    close(blocks.to_dense(), np.where(np.equal.outer(labels, labels), dense, 0.0))
    sizes = [labels.count(label) for label in set(labels)]
    assert len(blocks.blocks) == len(set(sizes))  # blocks of one size lie in one place


def test_labels_may_be_a_tree_and_give_names(be, tasks):
    problem = tasks(be, "mlp")
    tree = {"a": {"w": [[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2]], "b": [0, 1, 2]}, "z": {"w": [[3, 3]] * 3, "b": [3, 4]}}
    tree = {layer: {name: be.asarray(np.array(part)) for name, part in parts.items()} for layer, parts in tree.items()}
    blocks = cv.approximate(cv.Fisher(problem), "block-diagonal", partition=tree)
    assert {name: block.structure for name, block in blocks.blocks.items()} == {
        "0, 1, 2": "stacked-blocks",
        "3": "dense",
        "4": "dense",
    }
    labels = problem.space.ravel(np, {k: {n: be.to_numpy(a) for n, a in part.items()} for k, part in tree.items()})
    close(tasks.dense(blocks), tasks.projection(tasks.dense(cv.Fisher(problem)), labels))
    method = cv.approximation("block-diagonal", partition=tree)
    assert method == cv.approximation("block-diagonal", partition=tree)
    assert hash(method) == hash(cv.approximation("block-diagonal", partition=tree))


def test_a_dense_operator_that_belongs_to_no_problem(be, generator):
    a = generator.standard_normal((7, 7))
    a = a + a.T
    space = cv.ParameterSpace.of({"b": np.zeros(3), "w": np.zeros((2, 2))})
    named = Dense(be.asarray(a), space=space)
    for operator, partition, labels in (
        (named, "parameter", [0, 0, 0, 1, 1, 1, 1]),
        (named, {"all": ["w", "b"]}, [0] * 7),
        (named, [5, 5, 1, 0, 0, 1, 1], [5, 5, 1, 0, 0, 1, 1]),
        (Dense(be.asarray(a)), [5, 5, 1, 0, 0, 1, 1], [5, 5, 1, 0, 0, 1, 1]),
    ):
        blocks = cv.approximate(operator, "block-diagonal", partition=partition)
        close(be.to_numpy(blocks.to_dense()), np.where(np.equal.outer(labels, labels), a, 0.0))
    with pytest.raises(cv.UnsupportedError, match=r"partition='layer' takes the layers of a model.*partition='parameter'"):
        cv.approximate(named, "block-diagonal")


def test_layers_and_units_form_no_gradients_where_they_need_not(tasks):
    """N · R · P numbers would be 160 MB; the blocks of output units are a fiftieth of that."""
    import tracemalloc

    rng = np.random.default_rng(0)
    params = [rng.standard_normal((100, 40)), rng.standard_normal((40, 10))]

    def apply(p, x):
        return cv.namespace(x).tanh(x @ p[0]) @ p[1]

    data = (rng.standard_normal((450, 100)), rng.integers(0, 10, 450))
    matrix = cv.GGN(cv.Problem(cv.Model(apply, params), cv.Categorical(), data))
    cv.approximate(matrix, "block-diagonal", partition="output-unit")
    tracemalloc.start()
    cv.approximate(matrix, "block-diagonal", partition="output-unit")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.4 * 450 * 10 * 4400 * 8
