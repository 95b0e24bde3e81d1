"""``curvature train`` from beginning to end, on few epochs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner, Result

from curvature.cli.app import app

CALL = "from curvature.cli import main; main()"


def train(out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["train", "digits", "--out", str(out), "--epochs", "2", *arguments])


def record(out: Path) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found: dict[str, Any] = json.loads((out / "digits.json").read_text(), parse_constant=refuse)
    return found


def test_as_a_command_it_shows_bars_and_a_table_and_writes_both_files(tmp_path: Path) -> None:
    code = f"import sys; sys.argv = ['curvature', 'train', 'digits', '--epochs', '3']; {CALL}"
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    for words in ("natural gradient", "momentum", "Adam", "training", "test", "accuracy", "steps", "seconds", "100%", "loss"):
        assert words in done.stdout
    assert "…" not in done.stdout, "the table does not fit a terminal of 80 columns"
    assert "wrote curvature-digits/digits.png and curvature-digits/digits.json" in done.stdout
    assert {path.name for path in (tmp_path / "curvature-digits").iterdir()} == {"digits.png", "digits.json"}


def test_the_record_says_what_was_run_and_what_came_out(tmp_path: Path) -> None:
    result = train(tmp_path, "--seed", "3", "--approximation", "diagonal", "--fisher", "empirical", "--batch-size", "300")
    assert result.exit_code == 0, result.output
    found = record(tmp_path)
    assert found["arguments"] == {
        "dataset": "digits",
        "backend": "numpy",
        "device": None,
        "approximation": "diagonal",
        "fisher": "empirical",
        "epochs": 2,
        "batch_size": 300,
        "hidden": "24,24",
        "seed": 3,
        "out": str(tmp_path),
    }
    assert {"python", "curvature", "numpy", "scikit-learn"} <= set(found["versions"])
    assert {"system", "machine", "cores", "threads"} <= set(found["platform"])
    assert found["backend"] == {"name": "numpy", "device": "default", "dtype": "float64"}
    assert (found["data"]["training_examples"], found["data"]["test_examples"]) == (1438, 359)
    assert found["model"]["widths"] == [64, 24, 24, 10]
    assert found["model"]["parameters"] == 2410
    assert found["interrupted"] is False
    assert [run["optimizer"] for run in found["runs"]] == ["natural-gradient", "momentum", "adam"]
    natural, momentum, adam = found["runs"]
    assert natural["settings"]["fisher"] == "empirical"
    assert "LevenbergMarquardt" in natural["settings"]["damping"]
    assert momentum["settings"]["learning_rate"] > 0 < adam["settings"]["learning_rate"]
    for run in found["runs"]:
        assert run["batch_size"] == 300
        assert [point["step"] for point in run["curve"]] == [0, 4, 8]
        assert run["curve"][0]["loss"] == natural["curve"][0]["loss"], "they start from the same parameters"
        assert run["result"]["training_loss"] == run["curve"][-1]["loss"] < run["curve"][0]["loss"]
        assert 0 <= run["result"]["test_accuracy"] <= 1
        assert run["result"]["to_common_loss"]["steps"] <= 8
        assert run["error"] is None


def test_the_plot_is_a_picture_of_something(tmp_path: Path) -> None:
    assert train(tmp_path).exit_code == 0
    picture = imread(tmp_path / "digits.png")
    assert picture.shape[0] > 400 < picture.shape[1]
    colours = {tuple(pixel) for pixel in (picture.reshape(-1, picture.shape[2])[:, :3] * 255).round().astype(int).tolist()}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)} <= colours, "a curve is missing"


def test_quiet_prints_nothing(tmp_path: Path) -> None:
    result = train(tmp_path, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "digits.png").stat().st_size > 10_000
    assert record(tmp_path)["runs"]


def test_torch_changes_the_hardware_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for backend in ("numpy", "torch"):
        result = train(tmp_path / backend, "--backend", backend, "--fisher", "monte-carlo")
        assert result.exit_code == 0, result.output
    found = [record(tmp_path / backend)["runs"] for backend in ("numpy", "torch")]
    for ours, theirs in zip(*found, strict=True):
        losses = [point["loss"] for point in ours["curve"]]
        assert [point["loss"] for point in theirs["curve"]] == pytest.approx(losses, rel=1e-8)


def test_exact_on_a_small_network(tmp_path: Path) -> None:
    result = train(tmp_path, "--approximation", "exact", "--hidden", "4", "--quiet")
    assert result.exit_code == 0, result.output
    natural = record(tmp_path)["runs"][0]
    assert natural["settings"]["refresh_every"] > 1
    assert natural["result"]["training_loss"] < natural["curve"][0]["loss"]


def test_an_optimiser_that_cannot_go_on_does_not_end_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curvature.cli.training import contenders

    monkeypatch.setattr(contenders, "tuned_rates", lambda size: ((1e200, 0.05), size))
    with pytest.warns(RuntimeWarning):
        result = train(tmp_path)
    assert result.exit_code == 1
    assert "ended early" in result.output
    natural, momentum, adam = record(tmp_path)["runs"]
    assert natural["error"] is None
    assert momentum["error"]
    assert adam["result"]["steps"] == 22


def test_an_earlier_record_is_kept_when_the_next_command_is_refused(tmp_path: Path) -> None:
    assert train(tmp_path, "--quiet").exit_code == 0
    before = (tmp_path / "digits.json").read_bytes()
    assert train(tmp_path, "--batch-size", "5000").exit_code == 2
    assert (tmp_path / "digits.json").read_bytes() == before
