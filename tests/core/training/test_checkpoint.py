"""A run that is taken up from its checkpoint ends where it would have ended, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.files.decoding import array_nodes
from curvature.optim import Adam, GradientDescent
from curvature.training import EarlyStopping, Record, StopTraining, TrainingStep
from curvature.training.layout import axes_of, from_memory_order, in_memory_order

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "momentum": lambda: GradientDescent(0.1, l2=1e-3),
    "nesterov": lambda: GradientDescent(0.1, nesterov=True),
    "adam": lambda: Adam(0.01),
    "natural-gradient": lambda: cv.NaturalGradient("kfac", fisher="monte-carlo"),
}


def problem_of(backend: str, dtype: str) -> cv.Problem:
    """A network of which half of the weights lie in column-major order in memory, where a library has that."""
    be = pytest.importorskip(f"curvature_{backend}") and cv.backend(backend)
    xp, rng = be.xp, np.random.default_rng(2)

    def array(values: Any) -> Any:
        return be.asarray(np.asarray(values, dtype=np.float32 if dtype == "bfloat16" else dtype), dtype=dtype)

    def apply(params: Any, x: Any) -> Any:
        return cv.namespace(x).tanh(x @ params["in"]["w"] + params["in"]["b"]) @ params["out"]

    params = {
        "in": {"w": xp.permute_dims(array(rng.standard_normal((7, 5))), (1, 0)), "b": array(np.zeros(7))},
        "out": array(rng.standard_normal((7, 3))),
    }
    x, y = array(rng.standard_normal((60, 5))), array(rng.standard_normal((60, 3)))
    return cv.Problem(cv.Model(apply, params), cv.Gaussian(1.0), (x, y))


def bits(problem: cv.Problem, record: Record) -> list[bytes]:
    """The parameters, to the last bit (bfloat16 as float32, which holds it)."""
    xp = problem.xp
    arrays = problem.space.flatten(record.params)
    wide = [xp.astype(a, xp.float32) if "bfloat16" in str(a.dtype) else a for a in arrays]
    return [np.ascontiguousarray(problem.backend.to_numpy(a)).tobytes() for a in wide]


def losses(record: Record) -> list[tuple[int, int, float, dict[str, float]]]:
    return [(point.epoch, point.step, point.loss, point.test) for point in record.curve]


def until(step: int, how: type[BaseException] = KeyboardInterrupt) -> Callable[[TrainingStep], None]:
    def end(event: TrainingStep) -> None:
        if event.step == step:
            raise how("enough")

    return end


@pytest.fixture
def x64() -> Any:
    """float64 on JAX, which a test cannot ask for otherwise."""
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_on_every_backend_in_every_dtype(tmp_path: Path, request: Any, backend: str, dtype: str, optimizer: str) -> None:
    if (backend, dtype) == ("numpy", "bfloat16"):
        pytest.skip("NumPy has no bfloat16")
    if (backend, dtype) == ("jax", "float64"):
        request.getfixturevalue("x64")
    problem, make = problem_of(backend, dtype), OPTIMIZERS[optimizer]
    options: dict[str, Any] = {"epochs": 3, "batch_size": 8, "seed": 5}
    expected = cv.fit(problem, make(), **options)
    options |= {"checkpoint": tmp_path / "run.safetensors", "checkpoint_every": 4}
    assert cv.fit(problem, make(), **options, callbacks=[until(9)]).steps == 9
    record = cv.fit(problem, make(), **options)
    assert record.complete
    assert record.steps == 21
    assert bits(problem, record) == bits(problem, expected)
    assert losses(record) == losses(expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [40, None, cv.GrowingBatch(first=20, full_at=25)], ids=["fixed", "all", "growing"])
def test_taken_up_anywhere(problem: cv.Problem, tmp_path: Path, optimizer: str, batch_size: Any) -> None:
    if not hasattr(OPTIMIZERS[optimizer](), "state_dict"):
        pytest.skip("this optimiser cannot be resumed yet")
    make, options = OPTIMIZERS[optimizer], {"epochs": 4, "batch_size": batch_size, "test": problem.data.single}
    expected = cv.fit(problem, make(), **options)
    path = tmp_path / "run"
    for step in (1, 2, 3, 5, 8, 13, 19):
        record = cv.fit(problem, make(), **options, checkpoint=path, callbacks=[until(step)])
        assert record.interrupted == (step <= expected.steps)
        assert record.steps == min(step, expected.steps)
    record = cv.fit(problem, make(), **options, checkpoint=path)
    assert bits(problem, record) == bits(problem, expected)
    assert losses(record) == losses(expected)
    assert record.seconds > 0


def test_data_in_batches(problem: cv.Problem, tmp_path: Path) -> None:
    whole = problem.data.single
    assert whole is not None
    problem = problem.at(data=[(whole.x[i : i + 40], whole.y[i : i + 40]) for i in range(0, 200, 40)])
    expected = cv.fit(problem, Adam(0.01), epochs=2)
    options: dict[str, Any] = {"epochs": 2, "checkpoint": tmp_path / "run"}
    assert cv.fit(problem, Adam(0.01), **options, callbacks=[until(7)]).interrupted
    assert bits(problem, cv.fit(problem, Adam(0.01), **options)) == bits(problem, expected)


class NoSteps(GradientDescent):
    def step(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("no step was to be taken")


def test_a_finished_run_returns_its_record_at_once(problem: cv.Problem, tmp_path: Path, monkeypatch: Any) -> None:
    options: dict[str, Any] = {"epochs": 2, "batch_size": 100, "checkpoint": tmp_path / "run"}
    first = cv.fit(problem, GradientDescent(0.1), **options)
    monkeypatch.setattr(GradientDescent, "step", NoSteps.step)
    again = cv.fit(problem, GradientDescent(0.1), **options)
    assert (again.curve, again.steps, again.seconds, again.complete) == (first.curve, 4, first.seconds, True)
    assert bits(problem, again) == bits(problem, first)


def test_a_stopped_run_is_finished(problem: cv.Problem, tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 3, "batch_size": 50, "checkpoint": tmp_path / "run"}
    first = cv.fit(problem, GradientDescent(0.1), **options, callbacks=[until(6, StopTraining)])
    again = cv.fit(problem, GradientDescent(0.1), **options)
    assert (again.stopped, again.steps, losses(again)) == ("enough", 6, losses(first))
    assert bits(problem, again) == bits(problem, first)


def test_more_epochs_prolong_it_and_fewer_are_refused(problem: cv.Problem, tmp_path: Path) -> None:
    options: dict[str, Any] = {"batch_size": 50, "checkpoint": tmp_path / "run"}
    cv.fit(problem, Adam(0.01), epochs=2, **options)
    record = cv.fit(problem, Adam(0.01), epochs=5, **options)
    assert bits(problem, record) == bits(problem, cv.fit(problem, Adam(0.01), epochs=5, batch_size=50))
    with pytest.raises(cv.DataError, match=r"in epoch 6 already, beyond epochs=3; .*resume=False"):
        cv.fit(problem, Adam(0.01), epochs=3, **options)
    assert cv.fit(problem, Adam(0.01), epochs=3, **options, resume=False).steps == 12


def test_early_stopping_stops_where_it_would_have(problem: cv.Problem, tmp_path: Path) -> None:
    stopping = EarlyStopping(patience=3, minimum_change=0.2)
    options: dict[str, Any] = {"epochs": 60, "batch_size": 50}
    expected = cv.fit(problem, Adam(0.003), **options, callbacks=[stopping])
    assert expected.stopped
    options["checkpoint"] = tmp_path / "run"
    for step in (3, 10, expected.steps - 5, expected.steps):
        assert cv.fit(problem, Adam(0.003), **options, callbacks=[stopping, until(step)]).interrupted
    record = cv.fit(problem, Adam(0.003), **options, callbacks=[stopping])
    assert (record.stopped, losses(record)) == (expected.stopped, losses(expected))


def test_it_is_written_every_so_many_steps(problem: cv.Problem, tmp_path: Path) -> None:
    path, found = tmp_path / "run", []

    def look(event: TrainingStep) -> None:
        found.append(cv.load(path)["counters"]["step"])

    cv.fit(problem, Adam(0.01), epochs=2, batch_size=40, checkpoint=path, checkpoint_every=3, callbacks=[look])
    assert found == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9]
    assert cv.load(path)["counters"]["step"] == 10
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


# What is refused ----------------------------------------------------------------------------------


def test_an_optimiser_without_the_two_methods_is_refused_before_any_work(problem: cv.Problem, tmp_path: Path) -> None:
    class Bare:
        def init(self, problem: cv.Problem) -> Any:
            raise AssertionError("no work was to be done")

        step = init

    with pytest.raises(cv.UnsupportedError, match=r"state_dict\(state\) and load_state_dict\(problem, packed\).* Bare"):
        cv.fit(problem, Bare(), epochs=1, checkpoint=tmp_path / "run")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("every", [0, 2.5, None])
def test_an_interval_that_cannot_be_is_refused(problem: cv.Problem, tmp_path: Path, every: Any) -> None:
    with pytest.raises(cv.DataError, match="checkpoint_every is a positive integer"):
        cv.fit(problem, Adam(0.01), epochs=1, checkpoint=tmp_path / "run", checkpoint_every=every)


def test_a_path_that_cannot_be_written_is_found_before_any_step(problem: cv.Problem, tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "run", tmp_path):
        with pytest.raises((OSError, cv.FileFormatError)):
            cv.fit(problem, NoSteps(0.1), epochs=1, checkpoint=path)


def test_what_a_state_holds_that_no_file_keeps_is_found_before_any_step(problem: cv.Problem, tmp_path: Path) -> None:
    class Odd(NoSteps):
        def state_dict(self, state: Any) -> dict[str, Any]:
            return {"generator": np.random.default_rng(0)}

    with pytest.raises(cv.UnsupportedError, match=r"'optimizer.generator' is a numpy\.random"):
        cv.fit(problem, Odd(0.1), epochs=1, checkpoint=tmp_path / "run")


@pytest.fixture
def interrupted(problem: cv.Problem, tmp_path: Path) -> Path:
    """The checkpoint of Adam(0.01) on minibatches of 50 after two steps."""
    path = tmp_path / "run"
    cv.fit(problem, Adam(0.01), epochs=3, batch_size=50, checkpoint=path, callbacks=[until(2)])
    return path


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "optimiser": ({"optimizer": GradientDescent(0.1)}, r"optimizer was curvature\.optim\..*Adam and is .*GradientDescent"),
    "option": ({"optimizer": Adam(0.02)}, "optimizer.learning_rate was 0.01 and is 0.02"),
    "minibatches": ({"batch_size": 40}, "batch_size was 50 and is 40"),
    "schedule": ({"batch_size": cv.GrowingBatch(50, 9)}, r"batch_size was 50 and is GrowingBatch\(first=50, full_at=9\)"),
    "seed": ({"seed": 1}, "seed was 0 and is 1"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_run_is_refused(problem: cv.Problem, interrupted: Path, other: str) -> None:
    changed, message = OTHERS[other]
    optimizer = changed.get("optimizer", Adam(0.01))
    options = {"epochs": 3, "batch_size": 50, "checkpoint": interrupted} | {k: v for k, v in changed.items() if k != "optimizer"}
    before = interrupted.read_bytes()
    with pytest.raises(cv.DataError, match=rf"is the checkpoint of another run: {message}.*resume=False"):
        cv.fit(problem, optimizer, **options)
    assert interrupted.read_bytes() == before
    assert cv.fit(problem, optimizer, **options, resume=False).complete


def test_another_model_is_refused(make_problem: Callable[..., cv.Problem], interrupted: Path) -> None:
    be = cv.backend("numpy")
    for problem, message in (
        (make_problem(be, width=9), r"parameter 0.bias was array of shape \(8,\) and is array of shape \(9,\)"),
        (make_problem(be, examples=150), "examples was 200 and is 150"),
    ):
        with pytest.raises(cv.DataError, match=message):
            cv.fit(problem, Adam(0.01), epochs=3, batch_size=50, checkpoint=interrupted)


def test_another_backend_or_version_is_refused(
    make_problem: Callable[..., cv.Problem], interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"epochs": 3, "batch_size": 50, "checkpoint": interrupted}
    pytest.importorskip("torch")
    with pytest.raises(cv.DataError, match=r"backend was numpy and is torch; dtype was float64 and is torch\.float64"):
        cv.fit(make_problem(cv.backend("torch")), Adam(0.01), **options)
    monkeypatch.setattr("curvature.training.identity.version", lambda name: "9.9")
    with pytest.raises(cv.DataError, match=r"curvature was .* and is 9\.9"):
        cv.fit(make_problem(cv.backend("numpy")), Adam(0.01), **options)


def test_functions_and_objects_are_told_apart_by_name_not_by_address(problem: cv.Problem, tmp_path: Path) -> None:
    class Rule:
        def __init__(self, rate: float) -> None:
            self.rate = rate

    class Ruled(GradientDescent):
        def __init__(self, rate: float) -> None:
            super().__init__(rate)
            self.rule, self.function = Rule(rate), until

    options: dict[str, Any] = {"epochs": 2, "checkpoint": tmp_path / "run"}
    cv.fit(problem, Ruled(0.1), **options, callbacks=[until(1)])
    assert cv.fit(problem, Ruled(0.1), **options).complete
    with pytest.raises(cv.DataError, match=r"optimizer.rule was .*Rule\(rate=0.1\) and is .*Rule\(rate=0.2\)"):
        cv.fit(problem, Ruled(0.2), **options)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_file_is_refused(problem: cv.Problem, interrupted: Path, damage: str) -> None:
    raw = interrupted.read_bytes()
    flipped = raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:]
    content = {"cut": raw[: len(raw) // 2], "flipped": flipped, "empty": b"", "text": b"not a file of ours, but a long text"}
    interrupted.write_bytes(content[damage])
    with pytest.raises(cv.FileFormatError, match=r"cannot go on from a checkpoint: .*run.*resume=False starts anew"):
        cv.fit(problem, Adam(0.01), epochs=3, batch_size=50, checkpoint=interrupted)
    assert interrupted.read_bytes() == content[damage]


@pytest.mark.parametrize("obj", [{"w": np.ones(3)}, np.ones(3), {"identity": {}, "params": {}}])
def test_a_file_of_something_else_is_refused(problem: cv.Problem, tmp_path: Path, obj: Any) -> None:
    cv.save(obj, tmp_path / "run")
    with pytest.raises(cv.DataError, match=r"run is no checkpoint of curvature\.fit"):
        cv.fit(problem, Adam(0.01), epochs=3, checkpoint=tmp_path / "run")


# What a failure leaves ----------------------------------------------------------------------------


class PowerFailure(BaseException):
    pass


@pytest.mark.parametrize("moment", ["os.fsync", "os.replace", "curvature.files.digest.seal", "safetensors.numpy.save_file"])
def test_a_failure_while_it_is_written_leaves_the_one_before(
    problem: cv.Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "run"
    options: dict[str, Any] = {"epochs": 3, "batch_size": 50, "checkpoint": path, "checkpoint_every": 5}
    seen: list[bytes] = []

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise PowerFailure

    def arm(event: TrainingStep) -> None:
        if event.step == 10:
            seen.append(path.read_bytes())
            monkeypatch.setattr(moment, fail)

    with monkeypatch.context() as monkeypatch, pytest.raises(PowerFailure):
        cv.fit(problem, Adam(0.01), **options, callbacks=[arm])
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
    assert path.read_bytes() == seen[0]
    assert cv.load(path)["counters"]["step"] == 5
    expected = cv.fit(problem, Adam(0.01), epochs=3, batch_size=50)
    assert bits(problem, cv.fit(problem, Adam(0.01), **options)) == bits(problem, expected)


def test_it_is_a_file_that_everybody_reads(interrupted: Path) -> None:
    tree = cv.load(interrupted, "numpy")
    assert tree["params"]["0.weight"].shape == (64, 8)
    assert set(tree["optimizer"]["moments"]) == {"first moment", "second moment"}
    assert tree["identity"]["optimizer.learning_rate"] == "0.01"
    header = interrupted.read_bytes()[8 : 8 + int.from_bytes(interrupted.read_bytes()[:8], "little")]
    structure = json.loads(json.loads(header)["__metadata__"]["structure"])
    assert {"params.0.weight", "params.1.bias"} <= {node["name"] for node in array_nodes(structure)}


# Order in memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_arrays_lie_as_they_lay(backend: str, axes: tuple[int, ...]) -> None:
    pytest.importorskip(backend)
    be = cv.backend(backend)
    array = be.xp.permute_dims(be.asarray(np.arange(24.0).reshape(2, 3, 4)), axes)
    found = axes_of(array)
    plain = in_memory_order(array, found)
    again = from_memory_order(be.asarray(np.array(be.to_numpy(plain), order="C")), found)
    np.testing.assert_array_equal(be.to_numpy(again), be.to_numpy(array))
    assert be.to_numpy(again).strides == be.to_numpy(array).strides
    assert (found is None) == (axes == (0, 1, 2))


def test_a_snapshot_is_its_counters() -> None:
    from curvature.training.snapshot import Snapshot

    snapshot = replace(Snapshot(1, 2), step=3, rejected=1, curve=(cv.Point(0, 0, 0.0, 1.0, {"loss": 2.0}),), stopped="so")
    assert Snapshot.of(1, 2, json.loads(json.dumps(snapshot.counters()))) == snapshot
