"""The Gram matrix K = J̃ J̃ᵀ against dense references, for every kind of layer."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import curvature as cv
from curvature.matrices import inner_products
from curvature_conformance.cases.on_scenario import Case
from curvature_conformance.scenarios import own_scenarios
from curvature_conformance.setting import Setting

SCENARIOS = {scenario.name: scenario for scenario in own_scenarios()}


def rows(be, scenario):
    """J̃ (N R, P) of the Fisher from the scenario's own Jacobian: √share S_nᵀ J_n."""
    case, pieces = Case(Setting(be), scenario), []
    for batch in case.problem.batches():
        outputs = case.problem.outputs(case.problem.params, batch)
        pieces.append(be.to_numpy(scenario.likelihood.fisher_factor(outputs)))
    jacobian = scenario.references.jacobian
    weighted = np.concatenate(pieces) * np.sqrt(scenario.references.share)[:, None, None]
    return np.einsum("ncp,ncr->nrp", jacobian, weighted).reshape(-1, jacobian.shape[2])


def quiet(function, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cv.CurvatureWarning)
        return function(*args, **options)


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_is_the_product_of_the_rows(be, name):
    scenario = SCENARIOS[name]
    gram = quiet(cv.Gram, Case(Setting(be), scenario).matrix("fisher"))
    expected = rows(be, scenario)
    scale = np.abs(expected @ expected.T).max()
    np.testing.assert_allclose(be.to_numpy(gram.array), expected @ expected.T, rtol=1e-10, atol=1e-12 * scale)


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("cheaper", ["positions", "gradients"])
def test_both_formulas_agree(generator, name, cheaper, monkeypatch):
    """Whichever takes fewer operations, and a few examples at a time."""
    be = cv.backend("numpy")
    monkeypatch.setattr(inner_products, "_positions_are_cheaper", lambda left, right: cheaper == "positions")
    monkeypatch.setattr(inner_products, "_CHUNK", 40)
    gram = quiet(cv.Gram, Case(Setting(be), SCENARIOS[name]).matrix("fisher"))
    expected = rows(be, SCENARIOS[name])
    np.testing.assert_allclose(gram.array, expected @ expected.T, rtol=1e-10, atol=1e-12 * np.abs(gram.array).max())


# The factor J̃ and the kernel of the outputs -------------------------------------------------------------


def network(p, x):
    xp = cv.namespace(x)
    return xp.tanh(x @ p["w"] + p["b"]) @ p["v"]


def make(be, generator, *, weights=False, batches=(), likelihood=None, reduction="mean"):
    shapes = {"w": (4, 8), "b": (8,), "v": (8, 3)}
    params = {name: be.asarray(generator.standard_normal(shape)) for name, shape in shapes.items()}
    arrays = [generator.standard_normal((6, 4)), generator.integers(0, 3, 6)]
    if likelihood is not None:
        arrays[1] = generator.standard_normal((6, 3))
    if weights:
        arrays.append(np.array([0.5, 2.0, 0.0, 1.0, 1.5, 0.25]))
    data = [tuple(be.asarray(a[rows]) for a in arrays) for rows in batches] or tuple(be.asarray(a) for a in arrays)
    model = cv.Model(network, params, backend=be)
    return cv.Problem(model, likelihood or cv.Categorical(), data, reduction=reduction)


SPLIT = (slice(0, 1), slice(1, 4), slice(4, 6))


def dense_rows(problem, matrix):
    """J̃ from the dense Jacobian of the outputs and the output factor of each batch."""
    be, pieces, start = problem.backend, [], 0
    jacobian = be.to_numpy(cv.Jacobian(problem).to_dense())
    for evaluation, share in problem.evaluations():
        factor = be.to_numpy(matrix.output_factor(evaluation)) * float(share) ** 0.5
        n, c, r = factor.shape
        here = jacobian[start : start + n * c].reshape(n, c, -1)
        pieces.append(np.einsum("ncp,ncr->nrp", here, factor).reshape(n * r, -1))
        start += n * c
    return np.concatenate(pieces)


def centred(problem, rows):
    """√w_n (x_n - Σ w x) of rows √w_n x_n, in each column of the factor."""
    weights = [np.ones(b.size) if b.weights is None else problem.backend.to_numpy(b.weights) for b in problem.batches()]
    q = np.sqrt(np.concatenate(weights) / np.concatenate(weights).sum())
    stacked = rows.reshape(len(q), -1, rows.shape[1])
    return (stacked - q[:, None, None] * np.einsum("n,nrp->rp", q, stacked)).reshape(rows.shape)


KINDS = [cv.Fisher, cv.GGN, cv.EmpiricalFisher, lambda p: cv.MonteCarloFisher(p, samples=2, seed=3)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"weights": True, "batches": SPLIT, "reduction": "sum"}])
@pytest.mark.parametrize("centre", [False, True])
def test_the_gram_matrix_and_both_maps(be, generator, kind, options, centre):
    problem = make(be, generator, **options)
    matrix = kind(problem)
    expected = dense_rows(problem, matrix)
    if centre:
        expected = centred(problem, expected)
    gram = cv.Gram(matrix, centred=centre)
    np.testing.assert_allclose(be.to_numpy(gram.array), expected @ expected.T, rtol=1e-10, atol=1e-13)
    assert gram.jacobian.shape == expected.shape
    v, u = generator.standard_normal((expected.shape[1], 2)), generator.standard_normal((expected.shape[0], 2))
    np.testing.assert_allclose(be.to_numpy(gram.jacobian @ be.asarray(v)), expected @ v, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(be.to_numpy(gram.jacobian.T @ be.asarray(u)), expected.T @ u, rtol=1e-10, atol=1e-12)
    tree = problem.space.unravel(be.xp, be.asarray(v[:, 0]))
    np.testing.assert_allclose(be.to_numpy(gram.jacobian @ tree), expected @ v[:, 0], rtol=1e-10, atol=1e-12)
    if not centre:
        fisher = be.to_numpy(cv.approximate(matrix, "exact").to_dense())
        np.testing.assert_allclose(expected.T @ expected, fisher, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("options", [{}, {"weights": True, "batches": SPLIT}])
def test_the_neural_tangent_kernel_knows_no_weights(be, generator, options):
    problem = make(be, generator, **options)
    jacobian = be.to_numpy(cv.Jacobian(problem).to_dense())
    for given in (problem, cv.Jacobian(problem)):
        kernel = cv.Gram(given)
        np.testing.assert_allclose(be.to_numpy(kernel.array), jacobian @ jacobian.T, rtol=1e-10, atol=1e-13)
        assert isinstance(kernel.jacobian, cv.Jacobian)


def test_a_parameter_of_unknown_use(be, generator):
    def apply(p, x):
        return cv.namespace(x).tanh(x @ p["w"]) @ (p["v"] ** 3)

    params = {"w": be.asarray(generator.standard_normal((3, 4))), "v": be.asarray(generator.standard_normal((4, 2)))}
    data = (be.asarray(generator.standard_normal((5, 3))), be.asarray(generator.integers(0, 2, 5)))
    problem = cv.Problem(cv.Model(apply, params, backend=be), cv.Categorical(), data)
    matrix = cv.Fisher(problem)
    with pytest.warns(cv.FallbackWarning, match="'v'"):
        gram = cv.Gram(matrix)
    expected = dense_rows(problem, matrix)
    np.testing.assert_allclose(be.to_numpy(gram.array), expected @ expected.T, rtol=1e-10, atol=1e-13)


def test_an_embedding_of_many_rows_never_forms_a_table_for_each_example(generator, monkeypatch):
    """5 positions each, 30,000 rows: gradients would hold 3.8 GB."""
    tokens = generator.integers(0, 30_000, (8, 5))
    tokens[3] = tokens[2]

    def apply(p, x):
        xp = cv.namespace(x)
        rows = xp.reshape(xp.take(p["table"], xp.reshape(x, (-1,)), axis=0), (*x.shape, 2))
        return xp.sum(xp.tanh(rows), axis=1)

    table = generator.standard_normal((30_000, 2))
    problem = cv.Problem(cv.Model(apply, {"table": table}), cv.Gaussian(), (tokens, np.zeros((8, 2))))
    monkeypatch.setattr(inner_products, "_by_gradients", None)
    gram = cv.Gram(cv.Fisher(problem)).array
    slopes = 1 - np.tanh(table[tokens]) ** 2
    same = tokens[:, :, None, None] == tokens[None, None, :, :]
    expected = np.zeros((8, 2, 8, 2))
    for c in range(2):
        expected[:, c, :, c] = np.einsum("nt,ntmu,mu->nm", slopes[..., c], same, slopes[..., c]) / 8
    np.testing.assert_allclose(gram, expected.reshape(16, 16), rtol=1e-11, atol=1e-15)


def test_it_is_an_operator_of_the_side_of_the_examples(be, generator):
    """The nonzero eigenvalues of K are those of F, and (F + λI)⁻¹ J̃ᵀ = J̃ᵀ (K + λI)⁻¹."""
    problem = make(be, generator)
    matrix = cv.Fisher(problem)
    gram, fisher = cv.Gram(matrix), be.to_numpy(cv.approximate(matrix, "exact").to_dense())
    values = np.linalg.eigvalsh(fisher)[-12:]
    np.testing.assert_allclose(be.to_numpy(gram.eigh()[0]), values, rtol=1e-10, atol=1e-13)
    u = generator.standard_normal(12)
    left = np.linalg.solve(fisher + 0.01 * np.eye(len(fisher)), be.to_numpy(gram.jacobian.T @ be.asarray(u)))
    right = be.to_numpy(gram.jacobian.T @ gram.solve(be.asarray(u), damping=0.01))
    np.testing.assert_allclose(right, left, rtol=1e-9, atol=1e-11)


def test_a_known_matrix_is_not_made_again(be, generator, monkeypatch):
    problem = make(be, generator)
    gram = cv.Gram(cv.Fisher(problem))
    monkeypatch.setattr(cv.matrices.gram, "_assembled", None)
    again = cv.Gram(cv.Fisher(problem), array=gram.array)
    assert again.array is gram.array


def test_float32_stays_float32(be, generator):
    problem = make(be, generator)
    small = {name: be.asarray(be.to_numpy(a), dtype="float32") for name, a in problem.params.items()}
    x, y = problem.data.single.x, problem.data.single.y
    task = cv.Problem(cv.Model(network, small, backend=be), cv.Categorical(), (be.asarray(be.to_numpy(x), dtype="float32"), y))
    gram = cv.Gram(cv.Fisher(task), centred=True)
    for array in (gram.array, gram.jacobian.T @ gram.array[:, 0]):
        assert str(be.to_numpy(array).dtype) == "float32"


def test_too_large_a_matrix_is_refused_before_any_backward_pass(generator, monkeypatch):
    problem = make(cv.backend("numpy"), generator)
    monkeypatch.setattr(cv.problem.evaluation.Evaluation, "layers", None)
    with pytest.raises(cv.UnsupportedError, match=r"12 rows so far takes .*memory=1000 bytes; give fewer examples"):
        cv.Gram(cv.Fisher(problem), memory=1000)


def test_inputs_and_cotangents_count(generator):
    problem = make(cv.backend("numpy"), generator, batches=SPLIT)
    held = 6 * 8 * (4 + 2 * 8 + 8 + 2 * 3)  # x, two columns of 8 cotangents, the hidden layer, two columns of 3
    cv.Gram(cv.Fisher(problem), memory=144 * 8 + held)
    with pytest.raises(cv.UnsupportedError, match=r"inputs and cotangents"):
        cv.Gram(cv.Fisher(problem), memory=144 * 8 + held - 1)


@pytest.mark.parametrize("given", ["kfac", 3, None])
def test_only_fisher_type_matrices_have_one(given, generator):
    with pytest.raises(cv.DataError, match=r"Gram takes a Fisher-type matrix such as curvature.Fisher\(problem\)"):
        cv.Gram(given)
    problem = make(cv.backend("numpy"), generator)
    with pytest.raises(cv.DataError, match=r"Gram takes a Fisher-type matrix.*got a Hessian"):
        cv.Gram(cv.Hessian(problem))
    with pytest.raises(cv.DataError, match="centred goes with a Fisher-type matrix"):
        cv.Gram(problem, centred=True)


def test_a_file_holds_its_matrix(tmp_path, generator):
    matrix = cv.Fisher(make(cv.backend("numpy"), generator))
    gram, path = cv.Gram(matrix), tmp_path / "gram.safetensors"
    with pytest.raises(cv.UnsupportedError, match=r"save its matrix, curvature.operators.Dense\(gram.array\)"):
        cv.save(gram, path)
    cv.save(cv.operators.Dense(gram.array), path)
    again = cv.Gram(matrix, array=cv.load(path, backend="numpy").array)
    np.testing.assert_array_equal(again.array, gram.array)


def test_moved_it_is_a_dense_matrix(generator):
    gram = cv.Gram(cv.Fisher(make(cv.backend("numpy"), generator)))
    moved = gram.to("torch")
    assert type(moved) is cv.operators.Dense
    np.testing.assert_array_equal(cv.backend("torch").to_numpy(moved.array), gram.array)
