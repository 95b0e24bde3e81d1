"""An array finds its backend; what is no array, or two libraries at once, is told so."""

from __future__ import annotations

import timeit
from collections.abc import Callable

import array_api_strict
import numpy as np
import pytest

import curvature as cv
from curvature import errors

torch = pytest.importorskip("torch")


class Kit:
    """An array of a library that follows no standard."""

    device = "kit0"


KIT = """
import curvature as cv

@cv.hookimpl
def curvature_register_backends():
    return [cv.BackendSpec({name!r}, "{name}_heavy:make", owns=lambda x: {test}, api={api})]
"""
HEAVY = """
from types import SimpleNamespace

def make(device=None, dtype=None):
    return SimpleNamespace(name={name!r}, device=device, dtype=dtype)
"""


@pytest.fixture
def kit(install: Callable) -> Callable[..., None]:
    """Install a backend that owns Kit arrays."""

    def kit(name: str, test: str = "type(x).__name__ == 'Kit'", api: tuple[int, int] = (1, 0)) -> None:
        modules = {
            f"{name}_plugin": KIT.format(name=name, test=test, api=api),
            f"{name}_heavy": HEAVY.format(name=name),
        }
        install(f"{name}-dist", {name: f"{name}_plugin"}, modules)

    return kit


def test_arrays_of_registered_libraries() -> None:
    assert cv.backend_of(np.ones(2)).name == "numpy"
    found = cv.backend_of(torch.ones(2), torch.nn.Parameter(torch.ones(3)))
    assert (found.name, str(found.device), found.dtype) == ("torch", "cpu", None)


def test_the_device_is_that_of_the_array() -> None:
    assert str(cv.backend_of(torch.ones(2, device="meta")).device) == "meta"


def test_bare_namespace_gets_an_array_backend() -> None:
    array = array_api_strict.ones(2)
    found = cv.backend_of(array)
    assert isinstance(found, cv.ArrayBackend)
    assert found.name == "array_api_strict"
    assert found.xp.__name__ == "array_api_strict"
    other = array_api_strict.ones(2, device=array_api_strict.Device("device1"))
    assert "device1" in str(cv.backend_of(other).device)


def test_same_arrays_same_object() -> None:
    for array in (np.ones(2), torch.ones(2), array_api_strict.ones(2)):
        assert cv.backend_of(array) is cv.backend_of(array, array)


def test_two_libraries_name_both_and_the_remedy() -> None:
    with pytest.raises(errors.MixedBackendError, match=r"'numpy'.*'torch'.*be\.asarray\(other\.to_numpy") as caught:
        cv.backend_of(np.ones(2), torch.ones(2))
    assert isinstance(caught.value, TypeError)


def test_two_devices_name_both() -> None:
    with pytest.raises(errors.MixedBackendError, match=r"'cpu'.*'meta'.*be\.asarray\(array\)"):
        cv.backend_of(torch.ones(2), torch.ones(2, device="meta"))


@pytest.mark.parametrize("value", [3.0, [1.0, 2.0], None, "numpy", object()])
def test_what_is_no_array(value: object) -> None:
    with pytest.raises(errors.MixedBackendError, match=rf"{type(value).__name__}.*numpy, torch.*asarray"):
        cv.backend_of(np.ones(2), value)


def test_nothing_at_all() -> None:
    with pytest.raises(errors.MixedBackendError, match="no array"):
        cv.backend_of()


def test_third_party_arrays(kit: Callable) -> None:
    kit("alpha")
    assert (cv.backend_of(Kit()).name, cv.backend_of(Kit()).device) == ("alpha", "kit0")


def test_device_that_is_not_known_goes_with_one_that_is(kit: Callable) -> None:
    """Under jit an array has no device."""
    kit("alpha")
    known, unknown = Kit(), Kit()
    unknown.device = None
    for arrays in ((known, unknown), (unknown, known), (unknown, known, unknown)):
        assert cv.backend_of(*arrays).device == "kit0"


def test_two_owners_of_one_type_are_a_conflict(kit: Callable) -> None:
    kit("alpha")
    kit("beta")
    with pytest.raises(errors.PluginConflictError, match=r"Kit .*'alpha' of alpha-dist.* and .*'beta' of beta-dist"):
        cv.backend_of(Kit())


def test_owner_of_another_interface_gives_way_or_says_so(kit: Callable) -> None:
    kit("alpha", api=(9, 0))
    with pytest.raises(errors.IncompatiblePluginError, match="alpha-dist"):
        cv.backend_of(Kit())
    kit("beta")
    cv.registry.rediscover()
    assert cv.backend_of(Kit()).name == "beta"


def test_predicate_that_raises_spares_the_arrays_of_others(kit: Callable) -> None:
    kit("alpha", test="1 / 0")
    with pytest.warns(errors.PluginWarning, match=r"'alpha' of alpha-dist.*ZeroDivisionError"):
        assert cv.backend_of(np.ones(2)).name == "numpy"


def test_traced_array_has_the_backend_of_what_it_stands_for() -> None:
    seen = []

    def f(x: object) -> object:
        seen.append(cv.backend_of(x))
        return cv.namespace(x).sum(x * x)

    be = cv.backend("numpy")
    value, _ = be.value_and_gradient(f, be.asarray([1.0, 2.0]))
    assert float(value) == 5.0
    assert seen
    assert {type(backend) for backend in seen} == {type(be)}
    assert all(backend is cv.backend_of(np.ones(1)) for backend in seen)


def test_it_is_cheap() -> None:
    array = np.ones(2)
    cv.backend_of(array)
    assert min(timeit.repeat(lambda: cv.backend_of(array), number=1000, repeat=5)) < 0.05  # 50 µs; it takes about 1
