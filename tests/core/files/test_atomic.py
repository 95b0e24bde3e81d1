"""A save that fails, at any moment, leaves what was there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import curvature as cv
from curvature.files import atomic, container
from curvature.operators import Diagonal


class PowerFailure(BaseException):
    pass


def failing(*args, **kwargs):
    raise PowerFailure


def half_written(arrays, filename, metadata=None):
    Path(filename).write_bytes(b"half")
    raise PowerFailure


MOMENTS = {
    "while the arrays are written": ("safetensors.numpy.save_file", half_written),
    "before the digest": ("curvature.files.digest.seal", failing),
    "before it is on the disk": ("os.fsync", failing),
    "before it is put in place": ("pathlib.Path.replace", failing),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("existing", [True, False])
def test_an_interruption_leaves_what_was_there(tmp_path, monkeypatch, moment, existing):
    path = tmp_path / "x"
    if existing:
        cv.save(np.arange(3.0), path)
    before = {entry: entry.read_bytes() for entry in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(*MOMENTS[moment])
        with pytest.raises(PowerFailure):
            cv.save(np.ones(1000), path)
    assert {entry: entry.read_bytes() for entry in tmp_path.iterdir()} == before
    cv.save(np.ones(1000), path)
    assert cv.load(path).shape == (1000,)


def test_a_killed_process_leaves_what_was_there(tmp_path):
    """Killed between writing and replacing: nothing in Python runs any more."""
    path = tmp_path / "x"
    cv.save(np.arange(3.0), path)
    code = (
        "import os, sys, numpy as np, curvature as cv\n"
        "from curvature.files import digest\n"
        "digest.seal = lambda path: os._exit(9)\n"
        "cv.save(np.ones(1000), sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=120)
    assert done.returncode == 9
    np.testing.assert_array_equal(cv.load(path), np.arange(3.0))


def test_what_cannot_be_saved_leaves_what_was_there(tmp_path):
    path = tmp_path / "x"
    cv.save(np.arange(3.0), path)
    with pytest.raises(cv.UnsupportedError):
        cv.save({"good": np.ones(3), "bad": object()}, path)
    np.testing.assert_array_equal(cv.load(path), np.arange(3.0))
    assert list(tmp_path.iterdir()) == [path]


def test_no_reader_ever_sees_half_a_file(tmp_path, monkeypatch):
    """At the moment before the replacement the new file is complete, and the old one still in place."""
    path = tmp_path / "x"
    cv.save(np.zeros(2), path)
    replace, seen = Path.replace, []

    def looking(self, target):
        np.testing.assert_array_equal(cv.load(path), np.zeros(2))
        np.testing.assert_array_equal(cv.load(self), np.ones(2))
        assert self.parent == path.parent
        seen.append(self)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", looking)
    cv.save(np.ones(2), path)
    assert len(seen) == 1
    np.testing.assert_array_equal(cv.load(path), np.ones(2))


def test_a_folder_is_no_target(tmp_path):
    with pytest.raises(IsADirectoryError, match="give the name of a file"):
        cv.save(np.ones(2), tmp_path)
    with pytest.raises(FileNotFoundError):
        cv.save(np.ones(2), tmp_path / "nowhere" / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_permissions_are_kept_and_links_are_followed(tmp_path):
    path, link = tmp_path / "x", tmp_path / "link"
    mask = os.umask(0o022)
    try:
        cv.save(np.zeros(2), path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o640)
    link.symlink_to(path)
    cv.save(np.ones(2), link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    np.testing.assert_array_equal(cv.load(path), np.ones(2))


def test_long_names_and_any_suffix(tmp_path):
    for name in ("n" * 255, "ünïcode ⊗.kfac", ".hidden"):
        cv.save(Diagonal(np.ones(2)), str(tmp_path / name))
        assert cv.load(str(tmp_path / name)).shape == (2, 2)


def test_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv.save(np.ones(1), "x")
    assert cv.load("x").shape == (1,)


def test_the_modules_are_the_ones_in_use():
    """The interruptions above are planted where the code looks."""
    assert container.replacing is atomic.replacing
