"""partition="auto": planted couplings are found, the budget is kept, what is thrown away is within its error bars."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import curvature as cv
import curvature_block
from curvature.operators import BlockDiagonal, MatrixFree

SIZES = {"a": 30, "b": 24, "c": 20, "d": 26}
NAMES = list(SIZES)
EDGES = dict(zip(NAMES, np.cumsum([0, *SIZES.values()]), strict=False))


def part(name):
    return slice(EDGES[name], EDGES[name] + SIZES[name])


def planted(generator, couplings):
    """A positive definite matrix whose ‖F_ij‖ / √(‖F_ii‖ ‖F_jj‖) are given."""
    n = sum(SIZES.values())
    dense = np.zeros((n, n))
    for name, size in SIZES.items():
        a = generator.standard_normal((size, size))
        dense[part(name), part(name)] = a @ a.T / size + 3 * np.eye(size)
    for (one, two), coupling in couplings.items():
        block = generator.standard_normal((SIZES[one], SIZES[two]))
        scale = np.sqrt(np.linalg.norm(dense[part(one), part(one)]) * np.linalg.norm(dense[part(two), part(two)]))
        block *= coupling * scale / np.linalg.norm(block)
        dense[part(one), part(two)] = block
        dense[part(two), part(one)] = block.T
    return dense


def operator_of(be, dense):
    """Known by its products only."""
    array = be.asarray(dense)
    space = cv.ParameterSpace.of({name: np.zeros(size) for name, size in SIZES.items()})
    return MatrixFree(lambda v: array @ v, len(dense), dtype=array.dtype, backend=be, space=space)


COUPLINGS = {("a", "c"): 0.5, ("b", "d"): 0.3, ("a", "b"): 0.05, ("c", "d"): 0.02}


def test_planted_blocks_are_found(be, generator):
    dense = planted(generator, COUPLINGS)
    blocks = cv.approximate(operator_of(be, dense), "block-diagonal", partition="auto", coupling=0.15)
    assert list(blocks.blocks) == ["a+c", "b+d"]
    expected = dense.copy()
    for one in "ac":
        for two in "bd":
            expected[part(one), part(two)] = expected[part(two), part(one)] = 0.0
    np.testing.assert_allclose(be.to_numpy(blocks.to_dense()), expected, rtol=1e-12, atol=1e-12)
    assert blocks.report.groups == (("a", "c"), ("b", "d"))


def test_couplings_are_estimated_within_their_error_bars(generator):
    """Over many seeds the true values lie within ±2 standard errors about 95 % of the time."""
    be, dense = cv.backend("numpy"), planted(generator, COUPLINGS)
    operator = operator_of(be, dense)
    inside, total, shares = 0, 0, []
    truth = {(i, j): np.linalg.norm(dense[part(i), part(j)]) ** 2 for i in NAMES for j in NAMES}
    off = sum(value for (i, j), value in truth.items() if i != j)
    for seed in range(60):
        report = curvature_block.coupling(operator, probes=12, seed=seed)
        for i, one in enumerate(NAMES):
            for j, two in enumerate(NAMES[: i + 1]):
                error = report.standard_error[i][j]
                inside += abs(report.squared[i][j] - truth[one, two]) <= 2 * error + 1e-12
                total += 1
        shares.append((report.discarded - off / sum(truth.values())) / report.discarded_error)
        value, error = report.coupling("a", "c")
        assert abs(value - 0.5) < 6 * error
    assert 0.85 < inside / total < 0.99
    assert 0.5 < np.std(shares) < 1.6
    assert abs(np.mean(shares)) < 0.5


def test_small_blocks_are_measured_exactly(be, generator):
    """No more rows than probes: the columns of the identity are as cheap, and exact."""
    dense = planted(generator, COUPLINGS)
    report = curvature_block.coupling(operator_of(be, dense), probes=30)
    assert report.products == sum(SIZES.values())
    for i, one in enumerate(NAMES):
        for j, two in enumerate(NAMES):
            np.testing.assert_allclose(report.squared[i][j], np.linalg.norm(dense[part(one), part(two)]) ** 2, rtol=1e-10)
            assert report.standard_error[i][j] <= 1e-8 * max(1.0, report.squared[i][j])
    for (one, two), coupling in COUPLINGS.items():
        np.testing.assert_allclose(report.coupling(one, two)[0], coupling, rtol=1e-8)


def test_the_budget_decides_which_pairs_are_merged(be, generator):
    """a+c is the most coupled pair; where it does not fit, b+d is taken; where neither does, no pair."""
    dense = planted(generator, COUPLINGS)
    operator = operator_of(be, dense)
    alone = sum(size**2 for size in SIZES.values()) * 8
    b_d, a_c = 2 * 24 * 26 * 8, 2 * 30 * 20 * 8
    for memory, expected in (
        (alone + a_c + b_d, ["a+c", "b+d"]),
        (alone + b_d, ["a+c", "b", "d"]),
        (alone + a_c, ["a+c", "b", "d"]),
        (alone + a_c - 1, ["a", "b", "c", "d"]),
        (alone, ["a", "b", "c", "d"]),
    ):
        blocks = cv.approximate(operator, "block-diagonal", partition="auto", memory=memory, coupling=0.1)
        assert list(blocks.blocks) == expected
        assert sum(block.array.shape[0] ** 2 * 8 for block in blocks.blocks.values()) <= memory


def test_what_does_not_fit_becomes_finer_and_is_reported(be, generator):
    """The blocks that hold least for their size go first; what they lose inside is part of what is discarded."""
    dense = planted(generator, COUPLINGS)
    dense[part("d"), part("d")] *= 100.0
    operator = operator_of(be, dense)
    memory = (26**2 + 74 + 400) * 8
    blocks = cv.approximate(operator, "block-diagonal", partition="auto", memory=memory, probes=20)
    kinds = {name: block.structure for name, block in blocks.blocks.items()}
    assert kinds["d"] == "dense"
    assert list(kinds.values()).count("diagonal") == 2
    numbers = sum(np.prod(b.array.shape if b.structure == "dense" else b.entries.shape) for b in blocks.blocks.values())
    assert numbers * 8 <= memory
    report = blocks.report
    truth = 1 - np.linalg.norm(be.to_numpy(blocks.to_dense())) ** 2 / np.linalg.norm(dense) ** 2
    assert report.kept == 1 - report.discarded
    assert abs(report.discarded - truth) < 5 * report.discarded_error
    assert "(diagonal)" in str(report)


def test_what_is_discarded_is_the_error_of_the_approximation(generator):
    """‖F - B‖² / ‖F‖² within its error bars, for a network, over seeds."""
    be, deviations = cv.backend("numpy"), []
    matrix = cv.Fisher(network(be, generator))
    dense = matrix.to_dense()
    for seed in range(12):
        blocks = cv.approximate(matrix, "block-diagonal", partition="auto", memory=60_000, coupling=0.5, probes=8, seed=seed)
        truth = np.linalg.norm(dense - blocks.to_dense()) ** 2 / np.linalg.norm(dense) ** 2
        assert truth > 0
        deviations.append((blocks.report.discarded - truth) / blocks.report.discarded_error)
    assert np.mean(np.abs(deviations)) < 2.5


def network(be, generator, widths=(6, 8, 8, 3)):
    params = [
        {"w": be.asarray(generator.standard_normal((o, i)) / i**0.5), "b": be.asarray(np.zeros(o))} for i, o in pairwise(widths)
    ]

    def apply(p, x):
        xp = cv.namespace(x)
        for number, layer in enumerate(p):
            x = x @ xp.matrix_transpose(layer["w"]) + layer["b"]
            x = xp.tanh(x) if number + 1 < len(p) else x
        return x

    data = (be.asarray(generator.standard_normal((30, widths[0]))), be.asarray(generator.integers(0, widths[-1], 30)))
    return cv.Problem(cv.Model(apply, params, backend=be), cv.Categorical(), data)


def test_a_network_by_layer_parameter_and_unit(be, generator):
    """With less and less memory: merged layers, layers, their parameters or output units, and the diagonal."""
    matrix = cv.Fisher(network(be, generator))
    dense = be.to_numpy(matrix.to_dense())
    seen, errors = set(), []
    sizes = [56, 72, 27]
    for memory in (155**2, 120**2, sum(n**2 for n in sizes), 5000, 2600, 1400, 155):
        blocks = cv.approximate(matrix, "block-diagonal", partition="auto", memory=8 * memory, coupling=0.01, probes=4)
        b = be.to_numpy(blocks.to_dense())
        plan = blocks.report.plan
        assert plan.nbytes(8) <= 8 * memory
        assert abs(np.sum((dense - b) * b)) < 1e-11 * np.sum(dense**2)  # exact blocks, whatever they are
        seen |= {block.structure for block in blocks.blocks.values()}
        errors.append(np.linalg.norm(dense - b))
        # The plan can be asked for by itself, and says which blocks they are.
        again = cv.approximate(matrix, "block-diagonal", partition=plan)
        np.testing.assert_allclose(be.to_numpy(again.to_dense()), b, rtol=1e-12, atol=1e-15)
        assert again.partition == blocks.partition
    assert errors[0] < 1e-12 < errors[1] < errors[2] < errors[-1]
    assert seen == {"dense", "stacked-blocks", "diagonal"}


def test_a_hessian(generator):
    be = cv.backend("numpy")
    matrix = cv.Hessian(network(be, generator, (3, 4, 2)))
    dense = matrix.to_dense()
    for memory, structures in ((26**2, {"dense"}), (150, {"dense", "diagonal"})):
        blocks = cv.approximate(matrix, "block-diagonal", partition="auto", memory=8 * memory, coupling=0.01, probes=30)
        b = blocks.to_dense()
        assert abs(np.sum((dense - b) * b)) < 1e-11 * np.sum(dense**2)
        assert {block.structure for block in blocks.blocks.values()} == structures


def test_the_same_twice_and_on_every_backend(be, generator):
    reports = []
    for backend in (be, cv.backend("numpy")):
        rng = np.random.default_rng(7)
        blocks = cv.approximate(cv.Fisher(network(backend, rng)), "block-diagonal", partition="auto", probes=3, seed=5)
        reports.append(blocks.report)
    assert reports[0].groups == reports[1].groups
    np.testing.assert_allclose(reports[0].squared, reports[1].squared, rtol=1e-9)


def test_a_report_is_readable(generator):
    be = cv.backend("numpy")
    dense = planted(generator, COUPLINGS)
    blocks = cv.approximate(operator_of(be, dense), "block-diagonal", partition="auto", coupling=0.15)
    lines = str(blocks.report).splitlines()
    assert lines[0] == "coupling ‖F_ij‖ / √(‖F_ii‖ ‖F_jj‖) of 4 blocks, 10 probes, 40 products"
    assert lines[1].split()[3:] == ["kept", "a", "–", "c"]
    assert lines[2].split()[3:] == ["kept", "b", "–", "d"]
    assert any(line.split()[3:] == ["discarded", "a", "–", "b"] for line in lines)
    assert "  a+c (50 × 50)" in lines
    assert lines[-1].startswith("discarded: ")
    assert lines[-1].endswith("% of ‖F‖²")


def test_coupling_of_any_partition(be, generator):
    problem = network(be, generator)
    matrix = cv.GGN(problem)
    layers = curvature_block.coupling(matrix, probes=3)
    assert layers.names == tuple(layer.name for layer in problem.structure.layers)
    assert layers.groups == tuple((name,) for name in layers.names)
    assert 0 < layers.discarded < 1
    parameters = curvature_block.coupling(matrix, partition="parameter", probes=3)
    assert parameters.names == problem.space.names
    groups = curvature_block.coupling(matrix, partition={"first": "0.*", "rest": ["1.*", "2.*"]}, probes=3)
    assert groups.names == ("first", "rest")
    labels = np.arange(matrix.shape[0]) % 2
    entries = curvature_block.coupling(matrix, partition=labels, probes=200)
    dense = be.to_numpy(matrix.to_dense())
    off = np.linalg.norm(dense[np.ix_(labels == 0, labels == 1)]) ** 2
    np.testing.assert_allclose(entries.squared[0][1], off, rtol=1e-9)
    np.testing.assert_allclose(entries.discarded, 2 * off / np.linalg.norm(dense) ** 2, rtol=1e-9)
    with pytest.raises(cv.DataError, match="not 'auto'"):
        curvature_block.coupling(matrix, partition="auto")
    with pytest.raises(cv.DataError, match="at least 2 probes"):
        curvature_block.coupling(matrix, probes=1)


def test_parameters_that_are_not_used_stay_alone(be, generator):
    """Their rows are zero: nothing is divided by their norm."""
    params = {"w": be.asarray(generator.standard_normal((3, 2))), "idle": be.asarray(np.ones(4))}
    data = (be.asarray(generator.standard_normal((5, 3))), be.asarray(generator.integers(0, 2, 5)))
    problem = cv.Problem(cv.Model(lambda p, x: x @ p["w"], params, backend=be), cv.Categorical(), data)
    with pytest.warns(cv.UnusedParameterWarning):
        blocks = cv.approximate(cv.Fisher(problem), "block-diagonal", partition="auto", coupling=0.0)
    assert isinstance(blocks, BlockDiagonal)
    assert list(blocks.blocks) == ["idle", "w"]
    assert blocks.report.coupling("idle", "w") == (0.0, 0.0)
    assert blocks.report.discarded == 0.0


def test_a_budget_too_small_for_anything_says_what_would_do(generator):
    operator = operator_of(cv.backend("numpy"), planted(generator, COUPLINGS))
    with pytest.raises(cv.UnsupportedError, match=r"memory=799 bytes is too little .*of 100 parameters.*take 800 bytes"):
        cv.approximate(operator, "block-diagonal", partition="auto", memory=799)
    smallest = cv.approximate(operator, "block-diagonal", partition="auto", memory=800)
    assert {block.structure for block in smallest.blocks.values()} == {"diagonal"}


def test_a_block_above_max_block_is_never_made(generator):
    operator = operator_of(cv.backend("numpy"), planted(generator, COUPLINGS))
    blocks = cv.approximate(operator, "block-diagonal", partition="auto", max_block=49, coupling=0.0)
    assert all(block.shape[0] <= 49 for block in blocks.blocks.values())
    tight = cv.approximate(operator, "block-diagonal", partition="auto", max_block=25, coupling=0.0)
    assert {n: b.structure for n, b in tight.blocks.items()} == {"a": "diagonal", "b": "dense", "c": "dense", "d": "diagonal"}


def test_saved_and_loaded(be, generator, tmp_path):
    """The operator is saved; its report is not, but the statistics hold all of it."""
    matrix = cv.Fisher(network(be, generator))
    method = cv.approximation("block-diagonal", partition="auto", memory=8 * 2600, probes=3)
    statistics = cv.estimate(matrix, method, be)
    cv.save(statistics, tmp_path / "statistics.safetensors")
    loaded = cv.load(tmp_path / "statistics.safetensors", backend="numpy")
    blocks = cv.build(method, statistics, matrix.problem.structure)
    cv.save(blocks, tmp_path / "blocks.safetensors")
    again = cv.load(tmp_path / "blocks.safetensors", backend="numpy")
    np.testing.assert_array_equal(again.to_dense(), be.to_numpy(blocks.to_dense()))
    assert again.report is None
    np.testing.assert_array_equal(loaded["plan"], be.to_numpy(statistics["plan"]))


@pytest.mark.parametrize("partition", ["layer", "output-unit", [0, 1] * 2])
def test_float32_stays_float32(be, partition):
    w = be.asarray(np.ones((2, 2), dtype=np.float32))
    data = (be.asarray(np.eye(2, dtype=np.float32)), be.asarray(np.array([0, 1])))
    matrix = cv.Fisher(cv.Problem(cv.Model(lambda p, x: x @ p["w"], {"w": w}, backend=be), cv.Categorical(), data))
    for chosen in (partition, "auto"):
        assert cv.approximate(matrix, "block-diagonal", partition=chosen).to_dense().dtype == w.dtype
