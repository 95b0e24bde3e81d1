"""Every row of the design's table of errors: the type, and that the message names the thing and the remedy."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import pytest

import curvature as cv
from curvature import errors


def test_missing_framework_names_it_and_the_command(install: Callable, backend_plugin: Callable) -> None:
    more = "requires=('no_such_framework',), extra='fast'"
    install("array-kit", {"kit": "kit_plugin"}, {"kit_plugin": backend_plugin("kit", more=more)})
    with pytest.raises(errors.BackendUnavailableError) as caught:
        cv.backend("kit")
    assert isinstance(caught.value, ImportError)
    assert str(caught.value) == (
        "backend 'kit' needs no_such_framework, which is not installed; run: pip install 'array-kit[fast]'"
    )


def test_missing_torch_is_told_in_these_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # to the import system: not there
    with pytest.raises(errors.BackendUnavailableError) as caught:
        cv.backend("torch")
    assert str(caught.value) == ("backend 'torch' needs torch, which is not installed; run: pip install 'curvature[torch]'")


def test_without_an_extra_the_modules_themselves_are_named(offer: Callable) -> None:
    offer(cv.BackendSpec("kit", "absent:Absent", requires=("no_such_a", "no_such_b")))
    with pytest.raises(errors.BackendUnavailableError, match=r"which are not installed; run: pip install no_such_a no"):
        cv.backend("kit")


@pytest.mark.parametrize(("typed", "meant"), [("nunpy", "numpy"), ("NumPy", "numpy"), ("pytorch", "torch")])
def test_mistyped_backend(typed: str, meant: str) -> None:
    with pytest.raises(errors.UnknownBackendError, match=f"did you mean '{meant}'") as caught:
        cv.backend(typed)
    assert isinstance(caught.value, LookupError)
    assert "registered: cupy, jax, numpy, torch" in str(caught.value)
    assert typed in str(caught.value)


def test_name_like_nothing_else_gets_no_guess() -> None:
    with pytest.raises(errors.UnknownBackendError) as caught:
        cv.backend("zzzzzz")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", [None, 3, ["numpy"]])
def test_name_that_is_no_string(name: object) -> None:
    with pytest.raises(errors.UnknownBackendError, match="must be a string"):
        cv.backend(name)


def test_mistyped_approximation() -> None:
    with pytest.raises(errors.UnknownApproximationError, match="did you mean 'kfac'") as caught:
        cv.approximation("k-fac")
    assert isinstance(caught.value, LookupError)
    assert "exact, kfac, kfac-tridiagonal" in str(caught.value)


def test_plugin_that_fails_to_load_warns_once_and_errs_when_used(install: Callable) -> None:
    install("broken-kit", {"kit": "broken_kit"}, {"broken_kit": "raise RuntimeError('no luck')"}, version="0.7")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", errors.PluginWarning)
        cv.backends()
        cv.backends()
    warned = [warning for warning in warned if warning.category is errors.PluginWarning]
    assert len(warned) == 1
    assert "plugin 'kit' of broken-kit 0.7 failed to load: RuntimeError: no luck" in str(warned[0].message)
    with pytest.raises(errors.PluginLoadError, match=r"broken-kit 0\.7 failed to load: RuntimeError: no luck") as caught:
        cv.backend("kit")
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert cv.backend("numpy").name == "numpy"


def test_backend_whose_module_fails_names_distribution_version_and_cause(install: Callable, backend_plugin: Callable) -> None:
    modules = {"kit": backend_plugin("kit", "kit_heavy:Kit"), "kit_heavy": "raise OSError('libkit.so is missing')"}
    install("kit-dist", {"kit": "kit"}, modules)
    with pytest.raises(errors.PluginLoadError, match=r"'kit' of kit-dist 1\.2\.3 .* OSError: libkit.so is missing"):
        cv.backend("kit")


@pytest.mark.parametrize("api", [(2, 0), (0, 9), (1, 7)])
def test_other_version_of_the_interface_names_both(api: tuple[int, int], offer: Callable) -> None:
    offer(cv.BackendSpec("kit", "absent:Absent", api=api), cv.ApproximationSpec("mine", "absent:Absent", api=api))
    with pytest.raises(errors.IncompatiblePluginError, match=rf"version {api[0]}\.{api[1]} .* has 1\.0") as caught:
        cv.backend("kit")
    assert isinstance(caught.value, ImportError)
    with pytest.raises(errors.IncompatiblePluginError):
        cv.approximation("mine")


def test_one_name_in_two_distributions_names_both_when_used(install: Callable, backend_plugin: Callable) -> None:
    install("first-kit", {"kit": "first_kit"}, {"first_kit": backend_plugin("kit")})
    install("second-kit", {"kit": "second_kit"}, {"second_kit": backend_plugin("kit")})
    assert cv.backend("numpy").name == "numpy"  # nothing is wrong until the name is used
    with pytest.raises(errors.PluginConflictError, match=r"first-kit 1\.2\.3 .* and second-kit 1\.2\.3") as caught:
        cv.backend("kit")
    assert "second-kit:kit" in str(caught.value)
    assert "CURVATURE_DISABLE_PLUGINS" in str(caught.value)


def test_lacking_capability_says_why(offer: Callable) -> None:
    offer(cv.ApproximationSpec("mine", "absent:Absent", needs=("parameter_uses",)))
    claim = cv.Claim(cv.Support.UPSTREAM, "kit#12")
    with pytest.raises(errors.UnsupportedError, match=r"'mine' needs 'parameter_uses'.*'kit'.*kit#12.*use ") as caught:
        cv.registry.check_needs("mine", "kit", {"parameter_uses": claim})
    assert isinstance(caught.value, NotImplementedError)
    cv.registry.check_needs("mine", "kit", {"parameter_uses": cv.Claim(cv.Support.NATIVE)})


def test_probe_that_finds_a_reason(install: Callable, backend_plugin: Callable) -> None:
    source = backend_plugin("kit", more="probe='kit_probe:probe'")
    install("kit-dist", {"kit": "kit"}, {"kit": source, "kit_probe": "def probe():\n    return 'no device was found'\n"})
    with pytest.raises(errors.BackendUnavailableError, match="'kit' cannot be used here: no device was found"):
        cv.backend("kit")
