"""The program of benchmarks/training, on budgets of a few steps."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from training import contenders, figure, problems, record, summary, trace, tuning

ROOT = Path(__file__).parents[2]


def run(tmp_path: Path, problem: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "benchmarks/training/run.py", problem, "--seeds", "1", "--budget", "0.2", "--steps", "3"]
    done = subprocess.run([*command, "--out", str(tmp_path), *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for suffix in ("md", "png"):
        assert (tmp_path / f"training-{problem}.{suffix}").stat().st_size > 100
    found = json.loads((tmp_path / f"training-{problem}.json").read_text(encoding="utf-8"))
    assert found["problem"] == problem
    for entry in found["contenders"].values():
        (one,) = entry["runs"]
        assert "failed" not in one
        assert one["seed"] == 0
        assert all(value is not None for value in entry["versions"].values())
        check(one, found["targets"])
    return found


def check(one: dict[str, Any], targets: list[float]) -> None:
    """A run of a few steps is as it should be."""
    assert one["steps"] >= 1
    assert one["columns"]["step"][0] == 0
    assert one["columns"]["step"][-1] == one["steps"]
    assert len({len(column) for column in one["columns"].values()}) == 1
    assert all(value is not None for value in list(one["columns"].values())[2])
    assert list(one["reached"]) == [f"{target:g}" for target in targets]


def test_runs_are_written_and_merged(tmp_path: Path) -> None:
    first = run(tmp_path, "digits", "--contenders", "l-bfgs")
    both = run(tmp_path, "digits", "--contenders", "curvature", "--merge")
    assert list(both["contenders"]) == ["l-bfgs", "curvature"]
    assert both["contenders"]["l-bfgs"] == first["contenders"]["l-bfgs"]


def test_seeds_are_added_to_a_record(tmp_path: Path) -> None:
    options = ["digits", "--contenders", "l-bfgs", "--budget", "0.2", "--steps", "3", "--out", str(tmp_path)]
    command = [sys.executable, "benchmarks/training/run.py", *options]
    path = tmp_path / "training-digits.json"
    subprocess.run([*command, "--seeds", "1"], cwd=ROOT, capture_output=True, check=True)
    before = json.loads(path.read_text(encoding="utf-8"))["contenders"]["l-bfgs"]
    subprocess.run([*command, "--seeds", "2", "--first-seed", "1", "--merge"], cwd=ROOT, capture_output=True, check=True)
    after = json.loads(path.read_text(encoding="utf-8"))["contenders"]["l-bfgs"]
    assert after["settings"] == before["settings"]
    assert after["runs"][0] == before["runs"][0]
    assert [one["seed"] for one in after["runs"]] == [0, 1]
    refused = subprocess.run(
        [*command, "--seeds", "1", "--first-seed", "1"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "leaves nothing" in refused.stderr


# poisson-5d and ising take the paths of these; curves, whose images take seconds, and text are tried by hand.
@pytest.mark.parametrize("name", ["poisson-2d", "softmax", "digits"])
def test_every_peer_makes_a_few_steps(name: str) -> None:
    problem = problems.make(name)
    for contender in contenders.of(name).values():
        if contender.name == "curvature" or not contender.is_installed:
            continue
        made = trace.Trace(problem.measure, 60.0, steps=3)
        try:
            contender.run(problem, contender.grid(name)[0], made)
        except trace.Finished:
            check(made.record(problem.targets), problem.targets)


def test_a_contender_that_is_not_installed_is_left_out(tmp_path: Path) -> None:
    if contenders.of("digits")["kfac-jax"].is_installed:
        pytest.skip("kfac-jax is installed")
    command = [sys.executable, "benchmarks/training/run.py", "digits", "--contenders", "kfac-jax", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "kfac-jax is left out: kfac_jax is not installed" in done.stderr
    assert "No runs" in done.stdout


def test_every_problem_has_contenders_with_three_rates_or_none() -> None:
    for problem in (*contenders.VECTORS, *contenders.MODULES):
        taking_part = contenders.of(problem)
        assert "curvature" in taking_part
        assert "adam" in taking_part
        for contender in taking_part.values():
            grid = contender.grid(problem)
            assert len(grid) in (1, 3)
            rates = [settings[contender.tuned] for settings in grid if contender.tuned in settings]
            assert all(2.5 < b / a < 4 for a, b in pairwise(rates))


def test_measuring_stops_the_clock() -> None:
    def measure(value: float) -> dict[str, float]:
        time.sleep(0.05)
        return {"error": value, "loss": 2 * value}

    made = trace.Trace(measure, 0.02)
    made.start(1.0)

    def loop() -> None:
        for number in range(1000):
            time.sleep(0.002)
            made.step(lambda number=number: 1 / (number + 2))

    with pytest.raises(trace.Finished):
        loop()
    found = made.record([0.5, 1e-9])
    assert found["seconds"] < 0.045
    assert found["reached"]["0.5"][0] == 1
    assert found["reached"]["1e-09"] is None
    assert found["columns"]["error"][:2] == [1.0, 0.5]


def test_a_run_ends_where_the_error_is_no_number() -> None:
    made = trace.Trace(lambda value: {"error": value}, 10.0)
    made.start(1.0)
    with pytest.raises(trace.Finished):
        made.step(math.nan)
    assert made.record([0.1])["columns"]["error"] == [1.0, None]
    assert "not finite" in made.stopped


def test_quantiles_count_those_that_did_not_arrive() -> None:
    assert summary.quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert summary.quantile([1.0, 2.0], 0.5) == 1.5
    assert summary.quantile([1.0, math.inf], 0.5) == math.inf
    assert summary.quantile([1.0, 2.0, math.inf], 0.5) == 2.0


def made_up(seed: int, value: float | None, seconds: float | None) -> dict[str, Any]:
    reached = {"0.1": None if seconds is None else [5, seconds]}
    columns = {"step": [0, 9], "seconds": [0.0, 2.0], "error": [1.0, value]}
    return {"seed": seed, "steps": 9, "seconds": 2.0, "preparation": 0.1, "stopped": "", "reached": reached, "columns": columns}


def test_tuning_takes_what_gets_farthest_and_then_what_is_fastest() -> None:
    runs = {1.0: made_up(0, None, None), 3.0: made_up(0, 0.05, 1.5), 10.0: made_up(0, 1e-9, 1.9)}
    found: dict[str, Any] = {}
    grid = [{"learning_rate": rate} for rate in runs]
    assert tuning.chosen(grid, lambda settings: runs[settings["learning_rate"]], found) == {"learning_rate": 3.0}
    assert found["best_is_at_the_edge"] is False
    assert [tried["final"] for tried in found["grid"]] == [None, 0.05, 1e-9]


def test_a_record_becomes_a_table_and_a_figure(tmp_path: Path) -> None:
    class Problem:
        name, summary, measured, targets = "toy", "a toy", "error", (0.1,)

    kept = record.new(Problem, budget=2.0, threads=1, device="cpu")
    contender = contenders.of("softmax")["adam"]
    entry = record.entry(kept, contender)
    entry["settings"] = {"learning_rate": 0.1}
    for run_ in (made_up(1, 0.02, 1.0), made_up(0, 0.5, None), made_up(2, 0.05, 0.5), made_up(0, 0.01, 0.7)):
        record.add(entry, run_)
    assert [run_["seed"] for run_ in entry["runs"]] == [0, 1, 2]
    path = tmp_path / "training-toy.json"
    record.save(path, kept)
    assert record.load(path, kept) == kept
    with pytest.raises(SystemExit, match="budget"):
        record.load(path, {**kept, "budget": 3.0})
    assert "| adam | **0.7** (0.6 to 0.85) | 0.02 (0.015 to 0.035) |" in summary.table(kept)
    figure.draw(kept, path.with_suffix(".png"))
    assert path.with_suffix(".png").stat().st_size > 1000
