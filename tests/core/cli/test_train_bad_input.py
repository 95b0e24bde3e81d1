"""What ``curvature train`` refuses: in one line, before training, and without leaving anything behind."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curvature.cli.app import app


def refused(out: Path, *arguments: str, dataset: str = "digits") -> str:
    """What is said; nothing may have been made in ``out``."""
    # An error that must come before training comes long before these epochs are over.
    result = CliRunner().invoke(app, ["train", dataset, "--out", str(out), "--epochs", "1000000", *arguments])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    assert not out.is_dir() or not list(out.iterdir())
    # typer breaks its own messages into lines and frames them.
    return re.sub(r"[\s│]+", " ", result.output)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_an_unknown_data_set(out: Path) -> None:
    assert "there is no data set 'digit'; there is: 'digits'" in refused(out, dataset="digit")


def test_an_unknown_backend(out: Path) -> None:
    said = refused(out, "--backend", "nunpy")
    assert "nunpy" in said
    assert "did you mean 'numpy'" in said


def test_a_backend_that_is_not_installed(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    from curvature.registry import rediscover

    rediscover()
    try:
        said = refused(out, "--backend", "torch")
    finally:
        monkeypatch.undo()
        rediscover()
    assert "backend 'torch' needs torch, which is not installed; run: pip install 'curvature[torch]'" in said


def test_a_device_that_the_backend_has_not(out: Path) -> None:
    assert "NumPy has no device 'cuda'" in refused(out, "--device", "cuda")


@pytest.mark.parametrize("device", ["no-such-device", "cuda:99"])
def test_a_device_that_torch_has_not(out: Path, device: str) -> None:
    pytest.importorskip("torch")
    assert device in refused(out, "--backend", "torch", "--device", device)


def test_an_unknown_approximation(out: Path) -> None:
    said = refused(out, "--approximation", "shampo")
    assert "shampo" in said
    assert "did you mean 'shampoo'" in said


def test_an_unknown_fisher(out: Path) -> None:
    assert "monte-carlo" in refused(out, "--fisher", "observed")


def test_exact_on_a_network_too_large_for_it(out: Path) -> None:
    said = refused(out, "--approximation", "exact", "--hidden", "300,300")
    assert "'exact' would store a" in said
    assert "take 'kfac' or 'diagonal'" in said


@pytest.mark.parametrize("epochs", ["0", "-1", "many"])
def test_epochs_below_one(out: Path, epochs: str) -> None:
    assert "--epochs" in refused(out, "--epochs", epochs)


@pytest.mark.parametrize("size", ["0", "-5", "1439"])
def test_a_batch_size_out_of_range(out: Path, size: str) -> None:
    assert "--batch-size" in refused(out, "--batch-size", size)


@pytest.mark.parametrize("widths", ["20,,x", "0", "-3", "1.5"])
def test_widths_that_are_none(out: Path, widths: str) -> None:
    assert "positive integers, such as" in refused(out, "--hidden", widths)


def test_a_negative_seed(out: Path) -> None:
    assert "--seed" in refused(out, "--seed", "-1")


@pytest.mark.parametrize(("module", "package"), [("sklearn", "scikit-learn"), ("matplotlib", "matplotlib")])
def test_a_package_of_the_demo_is_missing(out: Path, monkeypatch: pytest.MonkeyPatch, module: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    said = refused(out)
    assert f"needs {package}, which is not installed; run: pip install 'curvature[demo]'" in said


def test_a_file_where_the_folder_should_be(out: Path) -> None:
    out.write_text("mine")
    assert f"cannot write to {out}" in refused(out)
    assert out.read_text() == "mine"


def test_a_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "cannot write to" in refused(tmp_path / "file" / "below")


def test_a_folder_in_the_place_of_a_result(out: Path) -> None:
    (out / "digits.png").mkdir(parents=True)
    result = CliRunner().invoke(app, ["train", "digits", "--out", str(out), "--epochs", "1000000"])
    assert result.exit_code == 2
    assert "cannot write to" in result.output
    assert [path.name for path in out.iterdir()] == ["digits.png"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission(out: Path) -> None:
    out.mkdir()
    out.chmod(0o500)
    assert "cannot write to" in refused(out)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that takes no files")
def test_a_file_system_that_takes_no_files() -> None:
    assert "cannot write to /proc/curvature" in refused(Path("/proc/curvature"))
