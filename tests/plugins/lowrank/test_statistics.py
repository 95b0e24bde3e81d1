"""Statistics: streaming, merging, averaging, the same on every backend, one pass for few examples."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense

NAMES = ["low-rank", "low-rank-plus-diagonal"]
OPTIONS = [{}, {"rank": 4}, {"rank": 4, "oversampling": 0}]


def host(operator):
    return operator.backend.to_numpy(operator.to_dense())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", OPTIONS)
def test_batches_one_after_the_other_are_the_whole(make_problem, name, options):
    """A sketch is linear in the matrix: by three batches it is that of all the data, whatever the rank."""
    for reduction in ("mean", "sum"):
        whole = cv.approximate(cv.Fisher(make_problem(12, reduction=reduction)), name, **options)
        split = cv.approximate(cv.Fisher(make_problem(12, (3, 4, 5), reduction=reduction)), name, **options)
        expected = host(whole)
        np.testing.assert_allclose(host(split), expected, atol=1e-10 * np.max(np.abs(expected)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", OPTIONS)
def test_merged_statistics_are_those_of_the_average(be, make_problem, name, options):
    method = cv.approximation(name, **options)
    assert method.merges == "exact"
    ours, theirs = cv.Fisher(make_problem(4)), cv.Fisher(make_problem(9))
    merged = method.merge([cv.estimate(ours, method, be), cv.estimate(theirs, method, be)], [0.3, 0.7])
    average = Dense(be.asarray(0.3 * host(ours) + 0.7 * host(theirs)), backend=be)
    expected = host(cv.approximate(average, method))
    found = cv.build(method, merged, ours.problem.structure)
    assert found.space == ours.space
    np.testing.assert_allclose(host(found), expected, atol=1e-10 * np.max(np.abs(expected)))


@pytest.mark.parametrize("name", NAMES)
def test_moving_averages_are_those_of_the_matrices(be, make_problem, name):
    method = cv.approximation(name, rank=5)
    average, dense = cv.MovingAverage(method, decay=0.6), None
    for count, n in enumerate((4, 8, 6), 1):
        matrix = cv.Fisher(make_problem(n))
        average = average.update(matrix)
        share = min(1 - 1 / count, 0.6)
        dense = host(matrix) if dense is None else share * dense + (1 - share) * host(matrix)
    expected = host(cv.approximate(Dense(be.asarray(dense), backend=be), method))
    found = host(average.operator(matrix.problem.structure))
    np.testing.assert_allclose(found, expected, atol=1e-10 * np.max(np.abs(expected)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{"solver": "lanczos"}, {"power_iterations": 1}])
def test_eigenpairs_merge_as_far_as_they_go(be, with_spectrum, name, options):
    """Nothing was left out of either part: the merged pairs are those of the average. Otherwise they are near."""
    method = cv.approximation(name, rank=12, **options)
    assert method.merges == "approximate"
    (first, a), (second, b) = with_spectrum([3.0, 2, 1, *[0.0] * 20], 1), with_spectrum([5.0, 4, *[0.0] * 21], 2)
    merged = method.merge([cv.estimate(first, method, be), cv.estimate(second, method, be)], [0.25, 0.75])
    structure = cv.Structure(cv.ParameterSpace.of(np.zeros(23)), be, lambda: None)
    expected = 0.25 * a + 0.75 * b
    np.testing.assert_allclose(host(cv.build(method, merged, structure)), expected, atol=1e-12)
    few = cv.approximation(name, rank=3, **options)
    merged = few.merge([cv.estimate(first, few, be), cv.estimate(second, few, be)], [0.25, 0.75])
    near = cv.build(few, merged, structure)
    assert merged["values"].shape == (3,)
    best = np.sort(np.linalg.eigvalsh(expected))[::-1]
    if name == "low-rank":
        np.testing.assert_allclose(np.linalg.norm(expected - host(near), 2), best[3], rtol=1e-9)
    else:
        np.testing.assert_allclose(np.diag(host(near)), np.diag(expected), atol=1e-12)


def test_sketches_of_different_widths_are_widened(be, with_spectrum):
    """A rule gave the parts different widths: the narrower one is widened by what it stands for, so nothing is lost."""
    method = cv.approximation("low-rank", damping=1e-2, epsilon=0.1)
    (first, a), (second, b) = with_spectrum(10.0 ** -np.arange(60.0), 1), with_spectrum(10.0 ** -np.linspace(0, 8, 60), 2)
    parts = [cv.estimate(operator, method, be) for operator in (first, second)]
    assert parts[0]["sketch"].shape[1] < parts[1]["sketch"].shape[1]
    assert method.merges == "approximate"
    for order in ((0, 1), (1, 0)):
        merged = method.merge([parts[i] for i in order], [0.5, 0.5])
        near = cv.build(method, merged, cv.Structure(cv.ParameterSpace.of(np.zeros(60)), be, lambda: None))
        assert np.linalg.norm((a + b) / 2 - host(near), 2) < 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [cv.Fisher, cv.EmpiricalFisher])
def test_few_examples_take_one_backward_pass(make_problem, name, kind, monkeypatch):
    """N · R ≤ columns of the sketch: the gradients of each example are the matrix, and no product is taken."""
    problem = make_problem(5)
    matrix = kind(problem)
    by_products = cv.approximate(kind(make_problem(5, (2, 3))), name, rank=6)
    monkeypatch.setattr(type(matrix), "_batch_products", lambda *_: pytest.fail("a product was taken"))
    near = cv.approximate(matrix, name, rank=6)
    np.testing.assert_allclose(host(near), host(by_products), atol=1e-11 * np.max(np.abs(host(by_products))))


def test_several_methods_share_their_passes(make_problem):
    matrix = cv.Fisher(make_problem(5))
    together = cv.approximate(matrix, [cv.approximation("low-rank", rank=3), cv.approximation("low-rank-plus-diagonal", rank=3)])
    for name, operator in zip(NAMES, together, strict=True):
        np.testing.assert_allclose(host(operator), host(cv.approximate(matrix, name, rank=3)), atol=1e-13)


def test_it_is_the_same_on_every_backend(be, make_problem):
    """One seed draws the same directions everywhere, and the signs of a library's QR decomposition do not matter."""
    reference = cv.backend("numpy")
    for options in ({"rank": 3, "oversampling": 1}, {"rank": 3, "power_iterations": 1}, {"rank": 3, "solver": "lanczos"}):
        matrix = cv.Fisher(make_problem(9, (4, 5)))
        moved = cv.Fisher(matrix.problem.to("numpy")) if be.name != "numpy" else matrix
        expected = reference.to_numpy(cv.approximate(moved, "low-rank", **options).to_dense())
        np.testing.assert_allclose(host(cv.approximate(matrix, "low-rank", **options)), expected, atol=1e-10)


def test_another_seed_takes_other_directions(with_spectrum):
    operator, _ = with_spectrum(1.0 / (1.0 + np.arange(40.0)))
    first, again, other = (host(cv.approximate(operator, "low-rank", rank=3, oversampling=0, seed=s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.max(np.abs(first - other)) > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{}, {"rank": 5}, {"solver": "lanczos"}, {"damping": 1e-2}, {"power_iterations": 1}])
def test_float32_stays_float32(make_problem, name, options):
    for batches in (None, (3, 4)):
        exact = host(cv.Fisher(make_problem(7, batches)))
        near = cv.approximate(cv.Fisher(make_problem(7, batches, dtype="float32")), name, **options)
        assert near.dtype == near.backend.xp.float32
        assert near.solve(near.backend.asarray(np.ones(28), dtype="float32"), damping=0.1).dtype == near.dtype
        if "rank" not in options and "damping" not in options:
            np.testing.assert_allclose(host(near), exact, atol=2e-5 * np.max(exact))


def test_statistics_are_finite_or_refused(be):
    broken = Dense(be.asarray(np.full((40, 40), np.nan)), backend=be, symmetric=True)
    for options in ({}, {"damping": 1.0}, {"solver": "lanczos"}):
        with pytest.raises(cv.DataError, match="NaN or infinite"):
            cv.approximate(broken, "low-rank", **options)
