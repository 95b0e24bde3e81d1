"""EKFAC's statistics: merged, and taken up again at other parameters."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import curvature as cv
from curvature import nn

METHOD = cv.approximation("ekfac")


def problem(be, rng, n, sizes=(6, 5, 4)):
    params = [
        {"weight": be.asarray(rng.standard_normal((o, i))), "bias": be.asarray(rng.standard_normal(o))}
        for i, o in pairwise(sizes)
    ]
    x, y = be.asarray(rng.standard_normal((n, sizes[0]))), be.asarray(rng.integers(0, sizes[-1], n))
    return cv.Problem(cv.Model(lambda p, x: nn.mlp(p, x, nn.relu), params), cv.Categorical(), (x, y))


def moved(task, rng, step=0.1):
    be = task.backend
    shift = [{k: be.asarray(step * rng.standard_normal(tuple(v.shape))) for k, v in layer.items()} for layer in task.params]
    return task.at([{k: v + d[k] for k, v in layer.items()} for layer, d in zip(task.params, shift, strict=True)])


def estimated(task, method=METHOD):
    return cv.estimate(cv.Fisher(task), method, task.backend)


def dense(task, statistics):
    return task.backend.to_numpy(cv.build(METHOD, statistics, task.structure).to_dense())


def exact_blocks(task):
    matrix, structure = cv.Fisher(task), task.structure
    whole = task.backend.to_numpy(matrix.to_dense())
    order = structure.partition.gather(np, np.arange(whole.shape[0])[:, None])
    return {layer.name: whole[np.ix_(r[:, 0], r[:, 0])] for layer, r in zip(structure.layers, order, strict=True)}


def traces(be, statistics):
    total = 0.0
    for values in statistics.values():
        s = be.to_numpy(values["scales"])
        total += s.sum()
        if "complement" in values:
            n = values["basis_A"].shape[0] * values["basis_G"].shape[0] - s.size
            total += n * float(values["complement"])
    return total


def test_merging_one_with_itself_changes_nothing(be, generator):
    task = problem(be, generator, 3)
    statistics = estimated(task)
    merged = METHOD.merge([statistics, statistics], [0.25, 0.75])
    for name, values in statistics.items():
        assert set(values) == set(merged[name])
        for key in values:
            np.testing.assert_allclose(be.to_numpy(merged[name][key]), be.to_numpy(values[key]), rtol=1e-15, atol=1e-16)


def test_in_the_same_bases_s_is_averaged(be, generator):
    task = problem(be, generator, 30)
    first = estimated(task)
    second = estimated(moved(task, generator), METHOD.after(first))
    merged = METHOD.merge([first, second], [0.3, 0.7])
    expected = 0.3 * dense(task, first) + 0.7 * dense(task, second)
    np.testing.assert_allclose(dense(task, merged), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 9), (9, 20)])
def test_in_other_bases_the_trace_is_kept_and_the_bases_are_those_of_the_averaged_factors(be, generator, n, m):
    """Thin with thin, thin with complete, complete with complete."""
    one, two = problem(be, generator, n, (9, 7, 4)), problem(be, generator, m, (9, 7, 4))
    parts = [estimated(one), estimated(two)]
    merged = METHOD.merge(parts, [0.4, 0.6])
    np.testing.assert_allclose(traces(be, merged), 0.4 * traces(be, parts[0]) + 0.6 * traces(be, parts[1]), rtol=1e-12)
    operators = [[be.to_numpy(b.to_dense()) for b in cv.build(METHOD, p, one.structure).blocks.values()] for p in parts]
    found = cv.build(METHOD, merged, one.structure)
    for label, a, b in zip(found.blocks, *operators, strict=True):
        block, mean = found.blocks[label].completed(), 0.4 * a + 0.6 * b
        q = np.kron(*(be.to_numpy(basis) for basis in block.bases))
        s = be.to_numpy(block.values).ravel()
        np.testing.assert_allclose(s, np.diag(q.T @ mean @ q), atol=1e-12 * np.linalg.norm(mean))
        for factor in ("A", "G"):
            average = sum(
                w
                * (be.to_numpy(p[label][f"basis_{factor}"]) * be.to_numpy(p[label][f"values_{factor}"]))
                @ be.to_numpy(p[label][f"basis_{factor}"]).T
                for w, p in zip((0.4, 0.6), parts, strict=True)
            )
            basis, values = (be.to_numpy(merged[label][f"{what}_{factor}"]) for what in ("basis", "values"))
            np.testing.assert_allclose((basis * values) @ basis.T, average, atol=1e-12 * np.linalg.norm(average))


def test_merging_keeps_the_trace_outside_of_thin_bases(be, generator):
    task = problem(be, generator, 2, (9, 7, 4))
    old = estimated(task)
    kept = estimated(problem(be, generator, 30, (9, 7, 4)).at(task.params), METHOD.after(old))
    assert all("complement" in values for values in kept.values() if values["basis_A"].shape[1] < 9)
    merged = METHOD.merge([kept, estimated(problem(be, generator, 3, (9, 7, 4)))], [0.5, 0.5])
    fresh = METHOD.merge([kept, kept], [0.5, 0.5])
    np.testing.assert_allclose(traces(be, fresh), traces(be, kept), rtol=1e-12)
    assert all(float(v.get("complement", 0.0)) >= 0 for v in merged.values())


def test_embeddings_and_other_layers_merge(be, generator):
    def apply(params, x):
        return nn.linear(cv.namespace(x).mean(nn.embedding(x, params["table"]), axis=1) * params["scale"], params["w"])

    params = {"table": (7, 4), "scale": (4,), "w": (3, 4)}
    params = {k: be.asarray(generator.standard_normal(s)) for k, s in params.items()}
    data = be.asarray(generator.integers(0, 7, (12, 3))), be.asarray(generator.integers(0, 3, 12))
    task = cv.Problem(cv.Model(apply, params), cv.Categorical(), data)
    parts = [estimated(task.at(data=tuple(a[rows, ...] for a in data))) for rows in (slice(0, 2), slice(2, 12))]
    merged = METHOD.merge(parts, [1 / 6, 5 / 6])
    built = cv.build(METHOD, merged, task.structure)
    np.testing.assert_allclose(float(built.trace()), np.trace(be.to_numpy(cv.Fisher(task).to_dense())), rtol=1e-12)


@pytest.mark.parametrize("n", [3, 30])
def test_s_anew_in_kept_bases(be, generator, n):
    """S = diag(Qᵀ F Q) of the new F in the old Q; the trace is that of the new F, also where Q is thin."""
    task = problem(be, generator, n)
    old = estimated(task)
    later = moved(problem(be, generator, 25).at(task.params), generator)
    kept = estimated(later, METHOD.after(old))
    operator = cv.build(METHOD, kept, later.structure)
    for label, exact in exact_blocks(later).items():
        for key in ("basis_A", "basis_G"):
            assert kept[label][key] is old[label][key]
        block = operator.blocks[label]
        q = np.kron(*(be.to_numpy(basis) for basis in block.bases))
        s = be.to_numpy(block.values).ravel()
        np.testing.assert_allclose(s, np.diag(q.T @ exact @ q), atol=1e-12 * np.linalg.norm(exact))
        np.testing.assert_allclose(float(block.trace()), np.trace(exact), rtol=1e-12)


def test_bases_that_have_not_drifted_are_kept_and_others_found_anew(be, generator):
    task = problem(be, generator, 30)
    old, later = estimated(task), moved(task, generator, 0.2)
    tolerant = estimated(later, METHOD.after(old, "eigh", drift=10.0))
    assert all(tolerant[k][b] is old[k][b] for k in old for b in ("basis_A", "basis_G"))
    strict = estimated(later, METHOD.after(old, "eigh", drift=1e-9))
    fresh = estimated(later)
    np.testing.assert_allclose(dense(later, strict), dense(later, fresh), rtol=1e-9, atol=1e-12)
    # The inputs of the first layer are the data, which have not changed.
    assert strict["0.weight+0.bias"]["basis_A"] is old["0.weight+0.bias"]["basis_A"]
    assert strict["0.weight+0.bias"]["basis_G"] is not old["0.weight+0.bias"]["basis_G"]


def test_orthogonal_iteration_comes_nearer_with_each_step(be, generator):
    task = problem(be, generator, 40)
    later, old = moved(task, generator, 0.2), estimated(task)
    exact = exact_blocks(later)

    def error(statistics):
        built = cv.build(METHOD, statistics, later.structure)
        return sum(np.linalg.norm(be.to_numpy(built.blocks[k].to_dense()) - f) ** 2 for k, f in exact.items()) ** 0.5

    best, errors, statistics = error(estimated(later)), [], old
    for _ in range(60):
        statistics = estimated(later, METHOD.after(statistics, "iterate"))
        errors.append(error(statistics))
    assert errors[-1] <= best * 1.001
    assert errors[-1] <= errors[0]
    np.testing.assert_allclose(traces(be, statistics), sum(np.trace(f) for f in exact.values()), rtol=1e-12)


def test_statistics_of_another_model_are_refused(generator):
    be = cv.backend("numpy")
    task = problem(be, generator, 5)
    with pytest.raises(cv.DataError, match=r"no scales of layer '0.weight\+0.bias'"):
        estimated(task, METHOD.after({"other": {}}))
    with pytest.raises(cv.DataError, match="2 statistics and 1 weights"):
        METHOD.merge([{}, {}], [1.0])


def test_what_it_starts_from_is_no_option(generator):
    be = cv.backend("numpy")
    after = METHOD.after(estimated(problem(be, generator, 5)), "eigh")
    assert after == METHOD
    assert hash(after) == hash(METHOD)
    assert METHOD.merges == "approximate"
