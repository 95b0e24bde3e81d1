"""Operators and problems as subjects: what is right conforms, what is wrong is said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.operators import Dense
from curvature_conformance import LikelihoodExample, all_checks, issues, run, subject_of

NUMPY = cv.backend("numpy")


def dense(kind: type[Dense] = Dense, **options: Any) -> Dense:
    root = np.random.default_rng(0).standard_normal((5, 5))
    return kind(root @ root.T, backend=NUMPY, **{"symmetric": True, **options})


def network(params: Any, x: Any) -> Any:
    return cv.namespace(x).tanh(x @ params["first"]) @ params["second"]


def problem(apply: Callable[..., Any] = network, likelihood: cv.Likelihood | None = None, **options: Any) -> cv.Problem:
    rng = np.random.default_rng(1)
    params = {"first": rng.standard_normal((3, 4)), "second": rng.standard_normal((4, 2))}
    x, y = rng.standard_normal((9, 3)), rng.integers(0, 2, 9)
    return cv.Problem((apply, params), likelihood or cv.Categorical(), (x, y), **options)


# Operators --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shift", "definite"), [(0.0, True), (3.0, False)])
def test_an_indefinite_operator_is_tested_without_roots(shift: float, definite: bool) -> None:
    report = run(Dense(dense().array - shift * np.eye(5), backend=NUMPY, symmetric=True))
    assert report.issues == []
    assert report.kind == "operator"
    checks = {outcome.check for outcome in report.outcomes}
    assert {"products/the-transpose-is-the-adjoint", "spectra/eigenvalues-and-eigenvectors"} <= checks
    assert ("inverses/powers" in checks) is definite


def test_an_operator_of_parameters_is_tested_on_trees_and_blocks() -> None:
    report = run(cv.approximate(cv.Fisher(problem()), "kfac"))
    assert report.issues == []
    assert "products/blocks" in {outcome.check for outcome in report.outcomes}


def test_a_curvature_matrix_is_an_operator_too() -> None:
    assert issues(cv.GGN(problem())) == []


def test_an_operator_that_is_called_symmetric_and_is_not() -> None:
    wrong = Dense(np.random.default_rng(2).standard_normal((4, 4)), backend=NUMPY, symmetric=False)
    wrong.symmetric = True
    assert any("whose attribute symmetric is True" in message for message in issues(wrong))


def test_an_operator_whose_transpose_is_forgotten() -> None:
    class Forgets(Dense):
        def _transpose(self) -> Any:
            return self

    wrong = Forgets(np.random.default_rng(2).standard_normal((4, 4)), backend=NUMPY, symmetric=False)
    assert any("A.T" in message and "it is the transpose" in message for message in issues(wrong))


@pytest.mark.parametrize("options", [{"backend": "torch"}, {"dtype": "float32"}])
def test_operators_and_problems_are_tested_where_they_are(options: dict[str, Any]) -> None:
    for subject in (dense(), problem()):
        with pytest.raises(ValueError, match=r"tested where it is; move it with \.to"):
            subject_of(subject, **options)


# Problems ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_problem_as_a_subject_conforms(backend: str, dtype: str) -> None:
    report = run(problem().to(backend, dtype=dtype))
    assert report.issues == []
    assert report.kind == "problem"
    assert len({outcome.check for outcome in report.outcomes}) == len(all_checks("problem")) == 10


@pytest.mark.parametrize("options", [{"reduction": "sum"}, {"likelihood": cv.Bernoulli()}])
def test_other_losses_conform(options: dict[str, Any]) -> None:
    if "likelihood" in options:
        rng = np.random.default_rng(1)
        made = problem(**options).at(data=(rng.standard_normal((5, 3)), rng.integers(0, 2, (5, 2)).astype(float)))
    else:
        made = problem(**options)
    assert issues(made) == []


def test_weights_and_batches_conform() -> None:
    rng = np.random.default_rng(4)
    batches = [(rng.standard_normal((n, 3)), rng.integers(0, 2, n), rng.uniform(0, 2, n)) for n in (8, 3)]
    assert issues(problem().at(data=batches)) == []


def across_examples(params: Any, x: Any) -> Any:
    xp = cv.namespace(x)
    return network(params, x - xp.mean(x, axis=0, keepdims=True))


def random_outputs(params: Any, x: Any) -> Any:
    return network(params, x) * (1 + 1e-3 * float(np.random.default_rng().standard_normal()))


PROBLEMS: dict[str, tuple[Callable[..., Any], str]] = {
    "examples mixed": (across_examples, "model/examples-are-independent"),
    "not deterministic": (random_outputs, "model/outputs-depend-on-nothing-but-the-arguments"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_wrong_model_is_caught(name: str) -> None:
    apply, check = PROBLEMS[name]
    failing = {outcome.check for outcome in run(problem(apply)).failures}
    assert check in failing


def test_a_detached_parameter_is_caught() -> None:
    torch = pytest.importorskip("torch")

    class Detached(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(3, 2, dtype=torch.float64)

        def forward(self, x: Any) -> Any:
            return x @ self.linear.weight.detach().T + self.linear(x)

    rng = np.random.default_rng(0)
    data = (torch.asarray(rng.standard_normal((6, 3))), torch.asarray(rng.integers(0, 2, 6)))
    found = issues(cv.Problem(Detached(), cv.Categorical(), data))
    assert any("⟨∇L, v⟩" in message and "detach" in message for message in found)


def test_the_command_takes_a_file(tmp_path: Any) -> None:
    from typer.testing import CliRunner

    from curvature.cli.app import app

    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\nimport curvature as cv\n"
        "x, y = np.eye(4), np.arange(4) % 2\n"
        "problem = cv.Problem((lambda p, x: x @ p, np.ones((4, 2))), cv.Categorical(), (x, y))\n"
    )
    result = CliRunner().invoke(app, ["conform", str(path)])
    assert result.exit_code == 0, result.output
    assert "problem" in result.output
    assert "conforms" in result.output
    result = CliRunner().invoke(app, ["conform", str(tmp_path / "other.py")])
    assert result.exit_code == 2
    assert "there is no file" in " ".join(result.output.split())


# What must not be taken for a defect ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(3))
def test_a_network_with_kinks_conforms(seed: int, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(seed)
    kind = getattr(torch, dtype)
    net = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 5)).to(kind)
    assert issues(cv.Problem(net, cv.Categorical(), (torch.randn(9, 20, dtype=kind), torch.randint(0, 5, (9,))))) == []


def test_inputs_of_another_scale_conform() -> None:
    rng = np.random.default_rng(5)
    x = 255.0 * rng.random((9, 3))
    assert issues(problem().at(data=(x, rng.integers(0, 2, 9)))) == []
    sizes = {"first": np.array([[1000.0, 0.5], [0.5, 0.5], [0.5, 0.5]]), "second": np.ones((2, 2))}
    assert issues(cv.Problem((network, sizes), cv.Categorical(), (x / 255, rng.integers(0, 2, 9)))) == []


def test_an_optimum_conforms() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 1))
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    assert issues(cv.Problem((lambda p, x: x @ p, best), cv.Gaussian(), (x, y))) == []


def test_masked_examples_at_the_beginning_conform() -> None:
    rng = np.random.default_rng(0)
    weights = np.array([0.0] * 7 + [1.0, 2.0])
    data = (rng.standard_normal((9, 3)), rng.integers(0, 2, 9), weights)
    assert issues(problem().at(data=data)) == []


def test_an_operator_that_is_definite_but_for_rounding_conforms_in_float32() -> None:
    basis = np.linalg.qr(np.random.default_rng(3).standard_normal((5, 5)))[0]
    for lowest in (-0.015, -1e-7):
        matrix = (basis * np.array([lowest, 0.1, 0.2, 0.5, 1.0])) @ basis.T
        assert issues(Dense(((matrix + matrix.T) / 2).astype(np.float32), backend=NUMPY, symmetric=True)) == []


def test_an_operator_that_is_too_large_is_refused_before_it_is_made_dense() -> None:
    with pytest.raises(ValueError, match="too large to be compared with its dense form"):
        issues(cv.operators.Diagonal(np.ones(3000), backend=NUMPY))


def test_a_likelihood_with_points_of_its_own_is_tested_by_them() -> None:
    class Shifted(cv.Poisson):
        """Somebody else's, and not normalised."""

        def log_prob(self, outputs: Any, y: Any) -> Any:
            return super().log_prob(outputs, y) + 7.0

    counts, outputs = np.arange(60.0)[:, None], np.array([[0.9], [-0.6]])
    sound = LikelihoodExample("mine", cv.Poisson(), outputs, counts, np.ones(60))
    assert issues(sound) == []
    found = issues(LikelihoodExample("mine", Shifted(), outputs, counts, np.ones(60)))
    assert any("the-density-is-normalised" in message for message in found)


def test_a_subject_that_ends_the_process_fails() -> None:
    def leaves(params: Any, x: Any) -> Any:
        calls.append(1)
        if len(calls) > 9:
            sys.exit(0)
        return network(params, x)

    calls: list[int] = []
    found = issues(problem(leaves))
    assert any("SystemExit was raised" in message for message in found)


def test_a_message_that_no_file_can_hold_is_kept(tmp_path: Any) -> None:
    class Raises(Dense):
        def trace(self) -> Any:
            raise OSError("cannot read \udcff.dat")

    report = run(dense(Raises))
    path = tmp_path / "report.json"
    report.write(path)
    assert "udcff.dat" in path.read_text(encoding="utf-8")
