"""A stranger's operator says how it is taken apart and put together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

import curvature as cv
from curvature.operators import BlockDiagonal, Dense, Diagonal


class ScaledIdentity(cv.Operator):
    """scale · I, the scale a 0-d array, with a label and options of all kinds."""

    structure: ClassVar[str] = "scaled-identity"

    def __init__(self, scale: Any, size: int, *, backend: cv.Backend, space: Any = None, options: Any = None) -> None:
        self.scale, self.size, self.backend, self.space, self.options = scale, size, backend, space, options

    @property
    def shape(self) -> tuple[int, int]:
        return (self.size, self.size)

    @property
    def dtype(self) -> Any:
        return self.scale.dtype

    def _matmat(self, v: Any) -> Any:
        return self.scale * v

    def map_arrays(self, function: Callable[[Any], Any], backend: cv.Backend) -> cv.Operator:
        return type(self)(function(self.scale), self.size, backend=backend, space=self.space, options=self.options)


class Unpackable(ScaledIdentity):
    """It has no methods of its own."""


class Silent(cv.Operator):
    """Nobody says how it is saved."""

    structure = "silent"
    shape = (1, 1)
    dtype = np.dtype("float64")
    backend, space = cv.backend("numpy"), None

    def _matmat(self, v: Any) -> Any:
        return v

    def map_arrays(self, function: Any, backend: Any) -> Any:
        return self


class Unfinished(Silent):
    """Only half of it was written."""


class Renamed(Dense):
    """A subclass of an operator that can be saved is another class."""


@cv.files.pack.dispatch
def pack(operator: ScaledIdentity):
    return {"scale": operator.scale, "size": operator.size, "space": operator.space, "options": operator.options}


@cv.files.unpack.dispatch
def unpack(kind: type[ScaledIdentity], parts: dict, backend: cv.Backend):
    return ScaledIdentity(parts["scale"], parts["size"], backend=backend, space=parts["space"], options=parts["options"])


@cv.files.pack.dispatch
def pack_unfinished(operator: Unfinished):
    return {}


def make(be: cv.Backend, cls: type = ScaledIdentity) -> Any:
    options = {"tags": ("a", None, 2), "inner": Diagonal(be.asarray(np.arange(2.0)), backend=be), "tolerance": 1e-3}
    space = cv.ParameterSpace.of([np.zeros((2, 2))])
    return cls(be.asarray(np.asarray(2.5)), 4, backend=be, space=space, options=options)


def test_a_strangers_operator_goes_through_a_file(be, other, tmp_path):
    cv.save(make(be), tmp_path / "x")
    loaded = cv.load(tmp_path / "x", other)
    assert type(loaded) is ScaledIdentity
    assert (loaded.size, loaded.backend, loaded.space) == (4, other, make(be).space)
    assert loaded.options["tags"] == ("a", None, 2)
    np.testing.assert_array_equal(other.to_numpy(loaded.options["inner"].diagonal()), [0.0, 1.0])
    assert other.to_numpy(loaded.scale) == 2.5
    (product,) = loaded @ [other.asarray(np.ones((2, 2)))]
    np.testing.assert_array_equal(other.to_numpy(product), np.full((2, 2), 2.5))


def test_it_may_be_a_block_of_ours(tmp_path):
    be = cv.backend("numpy")
    cv.save(BlockDiagonal([make(be), Dense(np.eye(2), backend=be)]), tmp_path / "x")
    loaded = cv.load(tmp_path / "x")
    assert type(loaded.blocks["0"]) is ScaledIdentity
    np.testing.assert_array_equal(loaded @ np.ones(6), [2.5] * 4 + [1.0] * 2)


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (Silent(), "nobody says how a Silent is saved; its author gives a method of curvature.files.pack"),
        (Unfinished(), "nobody says how a Unfinished is loaded"),
        (make(cv.backend("numpy"), Unpackable), "a Unpackable that is packed and unpacked has another class"),
        (Renamed(np.eye(2)), "a Renamed that is packed and unpacked has another class"),
    ],
)
def test_what_could_not_be_loaded_is_not_written(operator, message, tmp_path):
    with pytest.raises(cv.UnsupportedError, match=message):
        cv.save(operator, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_method_that_forgets_something_is_found_when_saving(tmp_path):
    class Forgetful(ScaledIdentity):
        pass

    @cv.files.unpack.dispatch
    def unpack(kind: type[Forgetful], parts: dict, backend: cv.Backend):
        return Forgetful(parts["scale"], parts["size"], backend=backend)

    with pytest.raises(cv.UnsupportedError, match="packed and unpacked has another space"):
        cv.save(make(cv.backend("numpy"), Forgetful), tmp_path / "x")


def test_a_kind_that_is_not_imported_is_named_with_its_author(tmp_path):
    """Saved here, loaded in a process that knows nothing of this module."""
    cv.save(make(cv.backend("numpy")), tmp_path / "x")
    code = "import sys, curvature as cv\ntry:\n    cv.load(sys.argv[1])\nexcept cv.UnknownKindError as error:\n    print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True, check=True, timeout=120
    )
    package = __name__.partition(".")[0]
    assert "the kind 'ScaledIdentity'" in done.stdout
    assert f"written by {package}" in done.stdout
    assert f"import {__name__!r} before loading" in done.stdout


def test_ours_are_known_without_importing_anything(tmp_path):
    cv.save(BlockDiagonal([Dense(np.eye(2))]), tmp_path / "x")
    code = "import sys, curvature as cv; print(cv.load(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "BlockDiagonal(2 × 2, float64, numpy)"


def test_a_class_that_moved_within_its_package_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(Dense, "__module__", "curvature.operators.old_place")
    cv.save(Dense(np.eye(2)), tmp_path / "x")
    monkeypatch.undo()
    assert type(cv.load(tmp_path / "x")) is Dense


def test_importing_curvature_imports_no_safetensors():
    code = "import sys, curvature as cv; cv.save, cv.load, cv.files; print('safetensors' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"
