"""Statistics: how they merge, are compressed and centred, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature_samplespace.method import SampleSpace
from curvature_samplespace.rows import compressed

from .conftest import SPLIT, WEIGHTS, Tasks, approximated, centred, dense, dense_rows

KINDS = [cv.Fisher, cv.GGN, cv.EmpiricalFisher, lambda task: cv.MonteCarloFisher(task, samples=2, seed=3)]
OPTIONS = [{}, {"weights": WEIGHTS, "batches": SPLIT, "reduction": "sum"}]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("storage", ["rows", "matrix-free"])
def test_it_is_the_matrix_or_the_covariance(be, tasks, kind, options, storage):
    matrix = kind(tasks(be, **options))
    rows = dense_rows(matrix)
    for centre in (False, True):
        expected = centred(matrix.problem, rows) if centre else rows
        found = dense(approximated(matrix, storage=storage, centred=centre))
        np.testing.assert_allclose(found, expected.T @ expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(dense(approximated(matrix)), dense(cv.approximate(matrix, "exact")), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_statistics_of_parts_merge_exactly(be, tasks, centre, weights):
    """Also the means that are taken away are those of the whole."""
    method = SampleSpace(centred=centre)
    counts = np.ones(6) if weights is None else weights
    statistics = [cv.estimate(cv.Fisher(tasks(be, weights=weights, rows=rows)), method, be) for rows in SPLIT]
    shares = [float(counts[rows].sum() / counts.sum()) for rows in SPLIT]
    whole = cv.Fisher(tasks(be, weights=weights))
    merged = cv.build(method, method.merge(statistics, shares), whole.problem.structure)
    np.testing.assert_allclose(dense(merged), dense(approximated(whole, centred=centre)), rtol=1e-10, atol=1e-13)
    assert method.merges == "exact"


def test_more_merged_rows_than_parameters_are_compressed(be, tasks):
    method = SampleSpace()
    statistics = cv.estimate(cv.Fisher(tasks(be)), method, be)
    many = method.merge([statistics] * 8, [0.125] * 8)
    assert tuple(many["rows"].shape) == (64, 64)
    structure = tasks(be).structure
    np.testing.assert_allclose(
        dense(cv.build(method, many, structure)), dense(cv.build(method, statistics, structure)), rtol=1e-10, atol=1e-13
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_compression_keeps_all_products_of_columns(rows, columns, seed):
    random = np.random.default_rng(seed)
    part = {"rows": random.standard_normal((rows, columns)), "weights": random.standard_normal((rows, 2))}
    joined = np.concatenate([part["rows"], part["weights"]], axis=1)
    found = compressed(cv.backend("numpy"), part)
    again = np.concatenate([found["rows"], found["weights"]], axis=1)
    assert len(again) == min(rows, columns + 2)
    np.testing.assert_allclose(again.T @ again, joined.T @ joined, rtol=1e-10, atol=1e-12)


def test_many_batches_are_compressed_on_the_way(be, generator):
    """30 batches of two examples and one parameter array of 4: never more than a few rows are held."""
    params = {"w": be.asarray(generator.standard_normal((2, 2)))}
    x, y = generator.standard_normal((60, 2)), generator.integers(0, 2, 60)
    data = [(be.asarray(x[i : i + 2]), be.asarray(y[i : i + 2])) for i in range(0, 60, 2)]
    model = cv.Model(lambda p, x: cv.namespace(x).tanh(x @ p["w"]), params, backend=be)
    matrix = cv.Fisher(cv.Problem(model, cv.Categorical(), data))
    rows = dense_rows(matrix)
    for centre in (False, True):
        method = SampleSpace(centred=centre, memory=4 * 4 * 8)
        with pytest.warns(cv.CurvatureWarning, match="60 rows, no fewer than the 4 parameters"):
            statistics = cv.estimate(matrix, method, be)
        assert int(statistics["rows"].shape[0]) == 4 + centre
        expected = centred(matrix.problem, rows) if centre else rows
        found = dense(cv.build(method, statistics, matrix.problem.structure))
        np.testing.assert_allclose(found, expected.T @ expected, rtol=1e-10, atol=1e-13)


def test_rows_are_kept_where_they_fit(be, tasks):
    matrix = cv.Fisher(tasks(be))
    size = 12 * 64 * 8
    assert "rows" in cv.estimate(matrix, SampleSpace(memory=size), be)
    assert "gram" in cv.estimate(matrix, SampleSpace(memory=size - 1), be)
    with pytest.raises(cv.UnsupportedError, match=r"12 rows for 64 parameters take .* more than memory=6143 bytes"):
        cv.estimate(matrix, SampleSpace(storage="rows", memory=size - 1), be)


def test_rows_that_outgrow_the_memory_are_not_merged(be, tasks):
    method = SampleSpace(memory=12 * 64 * 8)
    statistics = cv.estimate(cv.Fisher(tasks(be)), method, be)
    with pytest.raises(cv.UnsupportedError, match=r"24 merged rows for 64 parameters.*decay=0"):
        method.merge([statistics, statistics], [0.5, 0.5])


def test_gram_matrices_do_not_merge(be, tasks):
    method = SampleSpace(storage="matrix-free")
    statistics = cv.estimate(cv.Fisher(tasks(be)), method, be)
    with pytest.raises(cv.UnsupportedError, match=r"no products between the two; take storage='rows'"):
        method.merge([statistics, statistics], [0.5, 0.5])
    with pytest.raises(cv.DataError, match="2 statistics and 1 weights"):
        SampleSpace().merge([statistics, statistics], [1.0])


def test_without_rows_the_matrix_must_be_known(be, tasks):
    method, matrix = SampleSpace(storage="matrix-free"), cv.Fisher(tasks(be))
    with pytest.raises(cv.UnsupportedError, match=r"curvature.approximate\(matrix, ...\), or take storage='rows'"):
        cv.build(method, cv.estimate(matrix, method, be), matrix.problem.structure)


def test_a_hessian_is_refused(tasks):
    with pytest.raises(cv.UnsupportedError, match="'sample-space' is not defined for a Hessian"):
        cv.approximate(cv.Hessian(tasks(cv.backend("numpy"))), "sample-space")


@pytest.mark.parametrize("options", [{"storage": "disk"}, {"memory": 0}, {"rcond": 1.0}, {"rcond": -0.1}])
def test_options_are_checked(options):
    with pytest.raises(cv.DataError, match="sample-space: "):
        cv.approximation("sample-space", **options)


def test_the_diagonal_without_rows_takes_no_gradient_of_an_example(be, tasks, monkeypatch):
    for centre in (False, True):
        operator = approximated(cv.Fisher(tasks(be, weights=WEIGHTS, batches=SPLIT)), storage="matrix-free", centred=centre)
        expected = np.diag(dense(operator))
        monkeypatch.setattr(cv.problem.layer_values.LayerValues, "gradients", None)
        np.testing.assert_allclose(be.to_numpy(operator.diagonal()), expected, rtol=1e-10, atol=1e-14)
        monkeypatch.undo()


def test_it_trains(be):
    """Whole-batch natural gradient with fewer examples than parameters: the same steps as with the dense matrix."""
    paths = []
    for method in ("sample-space", "exact"):
        task = Tasks(np.random.default_rng(1))(be)
        opt = cv.NaturalGradient(method, damping=0.1, learning_rate=0.5)
        params, state, losses = task.params, opt.init(task), []
        for _ in range(4):
            params, state, info = opt.step(params, state)
            losses.append(info.loss)
        paths.append(losses)
    np.testing.assert_allclose(paths[0], paths[1], rtol=1e-9)
    assert paths[0][-1] < 0.5 * paths[0][0]


def test_it_trains_on_minibatches_with_a_moving_average(be, tasks):
    """Rows of several steps are kept together: the same as averaging the dense matrices."""
    x, y = be.asarray(tasks.x), be.asarray(tasks.labels)
    ends = []
    for method in ("sample-space", "exact"):
        task = tasks(be)
        opt = cv.NaturalGradient(method, damping=0.1, learning_rate=0.1, decay=0.8)
        params, state = task.params, opt.init(task)
        for rows in (*SPLIT, *SPLIT):
            params, state, info = opt.step(params, state, (x[rows, ...], y[rows]))
        ends.append(info.loss)
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-9)
