"""What is suggested under a budget, and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

import curvature as cv
from curvature import nn
from curvature.approximation import layout_of
from curvature.comparison import held_bytes
from curvature.comparison.predicting import calibrated
from curvature.comparison.subsets import subset
from curvature.operators import Diagonal

from .conftest import make_problem

CLOSED_FORMS = [
    "diagonal",
    "block-diagonal",
    "kfac",
    "kflr",
    "kfra",
    "ekfac",
    "kron-nearest",
    "kfac-tridiagonal",
    "shampoo",
    "sample-space",
    "exact",
    "low-rank",
    "neumann",
    "conjugate-gradients",
]


def convolution(params, x):
    xp = cv.namespace(x)
    hidden = xp.tanh(nn.conv2d(x, params["kernel"], params["bias"]))
    return xp.reshape(hidden, (hidden.shape[0], -1)) @ params["head"]


def words(params, x):
    xp = cv.namespace(params["w"])
    hidden = nn.embedding(x, params["table"]) * params["scale"] + params["shift"]
    return xp.mean(xp.tanh(hidden @ params["w"] + params["b"]), axis=1)


def task(kind):
    rng, be = np.random.default_rng(0), cv.backend("numpy")
    draw, labels = rng.standard_normal, rng.integers(0, 3, 9)
    if kind == "convolution":
        params = {"kernel": draw((4, 1, 2, 2)), "bias": draw(4), "head": draw((16, 3))}
        return cv.Problem((convolution, params), cv.Categorical(), (draw((9, 1, 3, 3)), labels))
    if kind == "words":
        params = {"table": draw((7, 4)), "scale": draw(4), "shift": draw(4), "w": draw((4, 3)), "b": draw(3)}
        return cv.Problem((words, params), cv.Categorical(), (rng.integers(0, 7, (9, 5)), labels))
    if kind == "batches":
        return make_problem(be, n=30, batches=True)
    return make_problem(be, n=4, widths=(9, 6, 3), dtype="float32" if kind == "float32" else None)


# What methods declare ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["network", "float32", "batches", "convolution", "words"])
@pytest.mark.filterwarnings("ignore::curvature.CurvatureWarning")
def test_bytes_are_predicted_exactly(kind):
    """Of a new operator, and of one that has solved; of low rank only where the matrix has that rank."""
    problem = task(kind)
    fisher = cv.Fisher(problem)
    layout = layout_of(fisher)
    seen = 0
    for name in CLOSED_FORMS:
        method = cv.approximation(name)
        if name == "low-rank":
            method = replace(method, rank=3)
        try:
            operator = cv.approximate(fisher, method)
        except cv.UnsupportedError:
            assert name == "kfra"
            continue
        cost = method.cost(layout)
        assert held_bytes(operator) == cost.bytes, name
        if name != "neumann":
            operator.solve(problem.gradient(), 0.5 * float(operator.trace()))
            assert held_bytes(operator) == cost.bytes + cost.bytes_solving, name
        assert min(cost.flops_statistics, cost.flops_build, cost.flops_solve) >= 0
        seen += 1
    assert seen >= len(CLOSED_FORMS) - 1


def test_the_layout_of_a_problem():
    layout = layout_of(cv.Fisher(task("words")))
    shapes = {layer.name: (layer.kind, layer.d_in, layer.d_out, layer.positions, layer.size) for layer in layout.layers}
    assert shapes == {
        "w+b": ("affine", 5, 3, 5, 15),
        "table": ("embedding", 7, 4, 5, 28),
        "scale+shift": ("scale", 1, 4, 5, 8),
    }
    assert (layout.parameters, layout.examples, layout.outputs, layout.itemsize, layout.is_single) == (51, 9, 3, 8, True)
    assert layout.columns == 2, "three classes, of which the third follows from the others"
    assert layout_of(cv.Hessian(task("words"))).columns == 0
    many = layout_of(cv.Fisher(task("batches")))
    assert (many.examples, many.batches, many.is_single) == (30, 2, False)
    assert layout_of(cv.Fisher(task("float32"))).itemsize == 4


def test_operations_of_a_dense_network():
    """2 N d_in d_out for each of: forwards, cotangents (none for the inputs), weights."""
    layout = layout_of(cv.Fisher(make_problem(cv.backend("numpy"), n=10, widths=(4, 3, 2))))
    first, second = 2 * 10 * (4 + 1) * 3, 2 * 10 * (3 + 1) * 2
    assert layout.forward == first + second
    assert layout.backward == second
    assert layout.gradient == 2 * (first + second) + second


def test_costs_grow_with_what_they_should():
    small, large = (layout_of(cv.Fisher(make_problem(cv.backend("numpy"), n=n))) for n in (10, 40))
    for name in CLOSED_FORMS:
        cost, more = (cv.approximation(name).cost(layout) for layout in (small, large))
        assert more.flops > cost.flops or name == "exact", name
    few, many = (cv.approximation("conjugate-gradients", iterations=k).cost(small) for k in (5, 50))
    assert many.flops_solve > 9 * few.flops_solve
    near = cv.approximation("conjugate-gradients", preconditioner="kfac").cost(small)
    assert near.bytes == cv.approximation("kfac").cost(small).bytes


def test_passes_take_longer_than_their_products_as_measured(problem):
    fisher = cv.Fisher(problem)
    layout, rate, gradient = calibrated(fisher, layout_of(fisher))
    assert layout.gradient * rate == pytest.approx(gradient)
    assert layout.overhead == pytest.approx(layout.gradient / layout_of(fisher).gradient)
    assert 0 < rate < 1e-6


def test_a_hessian_costs_products():
    layout = layout_of(cv.Hessian(task("network")))
    assert cv.approximation("exact").cost(layout).flops_statistics == layout.products(layout.parameters)
    assert cv.approximation("kfac").cost(layout) is None


# What is chosen ---------------------------------------------------------------------------------------


@pytest.fixture
def problem(numpy_backend):
    return make_problem(numpy_backend, n=40, widths=(8, 6, 4))


def test_without_a_budget_the_least_error_wins(problem):
    found = cv.suggest(problem, methods=["diagonal", "kfac", "exact"])
    assert found.label == "exact"
    assert found["exact"].error == 0
    assert found["kfac"].error < found["diagonal"].error
    assert not any(option.excluded for option in found.options)


def test_with_a_damping_the_natural_gradient_decides(problem):
    """The order of the errors in the norm of F + δI, from dense matrices; that of the matrices themselves is another."""
    fisher, damping, names = cv.Fisher(problem), 0.05, ["diagonal", "kfac", "low-rank", "neumann"]
    methods = {name: cv.approximation(name, rank=3) if name == "low-rank" else cv.approximation(name) for name in names}
    methods["neumann"] = cv.approximation("neumann", order=1)
    found = cv.suggest(problem, methods=methods, damping=damping)
    damped = fisher.to_dense() + damping * np.eye(fisher.shape[0])
    gradient = problem.space.ravel(np, problem.gradient())
    exact = np.linalg.solve(damped, gradient)
    expected = {}
    for name, method in methods.items():
        gap = cv.approximate(fisher, method).solve(gradient, damping=damping) - exact
        expected[name] = np.sqrt(gap @ damped @ gap / (exact @ damped @ exact))
        assert found[name].error == pytest.approx(expected[name], rel=1e-5)
    assert found.label == min(expected, key=expected.get) != "neumann"
    assert "at damping 0.05 the natural gradient has an error of" in str(found)
    assert cv.suggest(problem, methods=methods).label == "neumann"  # it multiplies as the matrix itself does


def test_the_reference_is_no_iteration_of_its_own(problem):
    """Conjugate gradients stop at a tolerance: what they find is no measure of what is exact, and that is quicker."""
    found = cv.suggest(problem, methods=["conjugate-gradients", "exact"], damping=1e-2)
    assert found.label == "exact"
    assert found["exact"].error == 0
    with pytest.raises(cv.DataError, match="gradient is zero at these parameters"):
        cv.suggest(balanced(), methods=["exact"], damping=1e-2)


def balanced():
    """Least squares at the optimum."""
    model = cv.Model(lambda params, x: x @ params, np.zeros((4, 1)))
    return cv.Problem(model, cv.Gaussian(), (np.eye(4), np.zeros((4, 1))))


def test_no_natural_gradient_along_negative_curvature():
    """½ Σ (θ² - y)² has the Hessian 6 θ² - 2 y: negative at θ = 1, y = 10, whatever the iteration does."""
    model = cv.Model(lambda params, x: x * params * params, np.ones((1, 2)))
    problem = cv.Problem(model, cv.Gaussian(), (np.ones((3, 2)), np.full((3, 2), 10.0)))
    with pytest.raises(cv.NotPositiveDefiniteError, match=r"no natural gradient at damping 0 \(.*\); raise the damping"):
        cv.suggest(problem, methods=["diagonal"], damping=0.0, matrix=cv.Hessian)


def test_no_natural_gradient(problem):
    # An indefinite matrix: the iteration meets a direction of negative curvature, or it goes astray before it does.
    with pytest.raises((cv.NotPositiveDefiniteError, cv.ConvergenceError), match=r"larger damping|raise the damping"):
        cv.suggest(problem, methods=["diagonal"], damping=0.0, matrix=cv.Hessian)
    # Where that of an approximation alone is missing, it is left out.
    found = cv.suggest(problem, methods=["low-rank", "sample-space", "kfac"], damping=0.0)
    assert found["low-rank"].excluded == "singular"
    with pytest.raises(cv.DataError, match=r"no approximation that fits has a natural gradient: low-rank: singular; raise"):
        cv.suggest(problem, methods=["low-rank"], damping=0.0)


def test_a_budget_of_memory_leaves_out_what_is_larger(problem):
    kfac = cv.approximation("kfac").cost(layout_of(cv.Fisher(problem)))
    room = kfac.bytes + kfac.bytes_solving
    found = cv.suggest(problem, methods=["diagonal", "kfac", "exact"], memory=room)
    assert found.label == "kfac"
    assert "needs" in found["exact"].excluded
    assert cv.suggest(problem, methods=["diagonal", "kfac", "exact"], memory=room - 1).label == "diagonal"
    assert isinstance(cv.approximate(cv.Fisher(problem), found.method), cv.Operator)
    for said in ("suggested: kfac", "relative Frobenius error", "on all 40 examples", "1 of 3 were left out"):
        assert said in str(found)
    (line,) = [line for line in found.table().splitlines() if line.startswith("exact")]
    assert "needs" in line


def test_a_budget_of_time_leaves_out_what_is_slower(problem, monkeypatch):
    from curvature.comparison import suggesting

    # A machine of a given speed: 1 ns for each operation of a gradient.
    layout = layout_of(cv.Fisher(problem))
    monkeypatch.setattr(suggesting, "calibrated", lambda matrix, layout: (layout, 1e-9, layout.gradient * 1e-9))
    names = ["diagonal", "kfac", "exact"]
    costs = {name: cv.approximation(name).cost(layout).flops * 1e-9 for name in names}
    slower = max(costs["diagonal"], costs["kfac"])
    assert slower < costs["exact"]
    found = cv.suggest(problem, methods=names, time=(slower + costs["exact"]) / 2)
    assert found.label == "kfac"
    assert found["kfac"].seconds == pytest.approx(costs["kfac"])
    assert "takes" in found["exact"].excluded
    with pytest.raises(cv.DataError, match=rf"the smallest, 'diagonal', needs memory={layout.parameters * 8} bytes and time="):
        cv.suggest(problem, methods=names, time=min(costs.values()) / 2)


def test_a_budget_that_nothing_fits_names_the_smallest_that_would(problem):
    size = layout_of(cv.Fisher(problem)).parameters * 8
    with pytest.raises(cv.DataError, match=rf"no approximation fits memory=10 B: the smallest, 'diagonal', needs memory={size}"):
        cv.suggest(problem, methods=["diagonal", "kfac"], memory=10)
    assert cv.suggest(problem, methods=["diagonal", "kfac"], memory=size).label == "diagonal"


def test_without_effort_the_order_is_the_documented_one(problem):
    names = ["diagonal", "kfac", "ekfac", "low-rank", "kfac-tridiagonal"]
    found = cv.suggest(problem, methods=names, effort=0)
    assert found.label == "kfac-tridiagonal"
    assert all(option.error is None for option in found.options)
    assert "keeps the most of the matrix" in found.reasons[0]
    assert cv.suggest(problem, methods=["diagonal", "low-rank"], effort=0).label == "low-rank"


def test_errors_are_measured_on_some_where_all_would_take_too_long(problem, monkeypatch):
    from curvature.comparison import suggesting

    layout = layout_of(cv.Fisher(problem))
    monkeypatch.setattr(suggesting, "EXAMPLES", 10)
    monkeypatch.setattr(suggesting, "calibrated", lambda matrix, layout: (layout, 1e-9, layout.gradient * 1e-9))
    whole = cv.approximation("kfac").cost(layout).flops * 1e-9
    found = cv.suggest(problem, methods=["kfac"], effort=whole / 2)
    assert "on 10 examples" in found.reasons[0]
    fisher = cv.Fisher(subset(problem, 40, 10, 0))
    assert found["kfac"].error == pytest.approx(cv.approximate(fisher, "kfac").certificate().relative_error)


def test_a_refusal_leaves_out(problem):
    matrix = cv.MonteCarloFisher(problem)
    found = cv.suggest(problem, matrix=matrix, methods=["kflr", "diagonal"])
    assert found.label == "diagonal"
    assert "propagates an exact root" in found["kflr"].excluded
    with pytest.raises(cv.DataError, match="kflr: "):
        cv.suggest(problem, matrix=matrix, methods=["kflr"], memory=1e9)


def test_other_matrices(problem):
    assert cv.suggest(problem, matrix=cv.EmpiricalFisher, methods=["kfac", "diagonal"]).label == "kfac"
    found = cv.suggest(problem, matrix=cv.Hessian, methods=["kfac", "diagonal"])
    assert found.label == "diagonal"
    assert "Hessian" in found["kfac"].excluded


@dataclass(frozen=True)
class Undeclared(cv.Approximation):
    """A method that does not say what it takes."""

    name: ClassVar[str] = "undeclared"


@cv.estimate.dispatch
def estimate(matrix: cv.GaussNewtonMatrix, method: Undeclared, backend: cv.Backend):
    return {"diagonal": (yield matrix.squared_gradients)}


@cv.build.dispatch
def build(method: Undeclared, statistics: dict, structure: cv.Structure):
    xp, partition = structure.backend.xp, structure.partition
    columns = [statistics["diagonal"][block.name][:, None] for block in partition.blocks]
    return Diagonal(partition.scatter(xp, columns)[:, 0], backend=structure.backend, space=structure.space)


def test_what_a_method_does_not_say_is_measured(problem):
    assert Undeclared().cost(layout_of(cv.Fisher(problem))) is None
    found = cv.suggest(problem, methods=[Undeclared(), "exact"], memory=problem.space.size * 8)
    assert found.label == "undeclared"
    option = found["undeclared"]
    assert option.how == "measured"
    assert option.bytes == problem.space.size * 8
    assert option.seconds > 0


def test_bad_input(problem):
    for options, message in [
        ({"memory": 0}, "memory is a number of bytes"),
        ({"time": -1}, "time is a number of seconds"),
        ({"effort": -1}, "effort"),
        ({"damping": -1e-3}, "damping is a finite number"),
        ({"damping": float("nan")}, "damping is a finite number"),
        ({"matrix": 3}, "matrix is one of the problem's"),
        ({"methods": {"made": cv.approximate(cv.Fisher(problem), "diagonal")}}, "was made already"),
    ]:
        with pytest.raises(cv.DataError, match=message):
            cv.suggest(problem, **options)
    with pytest.raises(cv.DataError, match=r"takes a curvature\.Problem"):
        cv.suggest(cv.Fisher(problem))
    with pytest.raises(cv.UnknownApproximationError):
        cv.suggest(problem, methods=["kfax"])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batches", [False, True])
def test_a_subset_keeps_inputs_targets_and_weights_together(be, weighted, batches):
    whole = make_problem(be, weighted=weighted, batches=batches)
    every = subset(whole, 12, 12, 0)
    np.testing.assert_allclose(float(every.loss()), float(whole.loss()), rtol=1e-12)
    some, other = (subset(whole, 12, 7, seed) for seed in (0, 1))
    assert some.data.single.size == 7
    assert (some.data.single.weights is not None) == weighted
    assert float(some.loss()) != float(other.loss())
    assert float(some.loss()) == float(subset(whole, 12, 7, 0).loss())
