"""Discovery forgives one broken plugin, can be told not to, leaves out what it is told to, and runs once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import curvature as cv
from curvature import errors
from curvature.registry import discovery

NAMES = ("cupy", "jax", "numpy", "torch")


def _statuses() -> dict[str, str]:
    return {plugin.name: plugin.status for plugin in cv.registry.plugins()}


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
        ("import not_there_at_all", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("", "implements no hook"),
        ("import curvature as cv\n@cv.hookimpl\ndef curvature_registr_backends(api): return []", "unknown hook"),
        ("import curvature as cv\n@cv.hookimpl\ndef curvature_register_backends(apy): return []", "apy"),
        ("import curvature as cv\n@cv.hookimpl\ndef curvature_register_backends(): return 3", "not iterable"),
        ("import curvature as cv\n@cv.hookimpl\ndef curvature_register_backends(): return ['kit']", "BackendSpec"),
        ("import curvature as cv\n@cv.hookimpl\ndef curvature_register_backends(): raise KeyError('x')", "KeyError"),
        (
            "import curvature as cv\n@cv.hookimpl\ndef curvature_register_backends():\n"
            "    return [cv.BackendSpec('kit', 'a:B'), cv.BackendSpec('kit', 'c:D')]",
            "two specs",
        ),
    ],
)
def test_broken_plugin_is_left_out_whole_and_the_others_stay(install: Callable, source: str, cause: str) -> None:
    install("broken-dist", {"broken": "broken_plugin"}, {"broken_plugin": source})
    with pytest.warns(errors.PluginWarning, match=r"'broken' of broken-dist 1\.2\.3 failed to load"):
        statuses = _statuses()
    assert statuses["broken"] == "broken"
    assert {statuses[name] for name in NAMES} == {"loaded"}
    assert cause in next(plugin.reason for plugin in cv.registry.plugins() if plugin.name == "broken")
    assert [info.name for info in cv.backends()] == list(NAMES)


def test_missing_module_of_a_plugin_is_a_warning(install: Callable) -> None:
    install("gone-dist", {"gone": "gone_plugin"}, {})
    with pytest.warns(errors.PluginWarning, match="gone-dist"):
        cv.backends()


def test_strict_mode_raises_every_time(install: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    install("broken-dist", {"broken": "broken_plugin"}, {"broken_plugin": "1 / 0"})
    monkeypatch.setenv("CURVATURE_STRICT_PLUGINS", "1")
    for _ in range(2):
        with pytest.raises(errors.PluginLoadError, match=r"broken-dist 1\.2\.3 failed to load: ZeroDivisionError"):
            cv.backend("numpy")
    monkeypatch.setenv("CURVATURE_STRICT_PLUGINS", "0")
    with pytest.warns(errors.PluginWarning):
        assert cv.backend("numpy").name == "numpy"


@pytest.mark.parametrize("blocked", ["broken", "broken-dist:broken", " torch , broken "])
def test_disabled_plugin_is_not_even_imported(install: Callable, monkeypatch: pytest.MonkeyPatch, blocked: str) -> None:
    install("broken-dist", {"broken": "broken_plugin"}, {"broken_plugin": "1 / 0"})
    monkeypatch.setenv("CURVATURE_DISABLE_PLUGINS", blocked)
    assert _statuses()["broken"] == "disabled"
    with pytest.raises(errors.UnknownBackendError, match="'broken-dist:broken' is disabled by CURVATURE_DISABLE"):
        cv.backend("broken")


def test_first_party_plugins_can_be_disabled_and_replaced(
    install: Callable, backend_plugin: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is privileged: another distribution may take the name once ours is out of the way."""
    loader = "my_numpy_heavy:make"
    heavy = "from types import SimpleNamespace\n\ndef make(**given):\n    return SimpleNamespace(mine=True, **given)\n"
    install("my-numpy", {"numpy2": "my_numpy"}, {"my_numpy": backend_plugin("numpy", loader), "my_numpy_heavy": heavy})
    with pytest.raises(errors.PluginConflictError, match=r"curvature .* and my-numpy"):
        cv.backend("numpy")
    monkeypatch.setenv("CURVATURE_DISABLE_PLUGINS", "curvature:numpy")
    cv.registry.rediscover()
    assert cv.backend("numpy", device="here", dtype="float32").mine


def test_plugin_that_asks_while_it_is_loaded_does_not_hang(install: Callable, backend_plugin: Callable) -> None:
    source = "import curvature as cv\ncv.backends()\n" + backend_plugin("asking")
    install("asking-dist", {"asking": "asking_plugin"}, {"asking_plugin": source})
    assert "asking" in [info.name for info in cv.backends()]


def test_entry_point_may_name_an_object(install: Callable) -> None:
    source = (
        "import curvature as cv\nclass Plugin:\n    @cv.hookimpl\n    def curvature_register_backends(self, api):\n"
        "        return [cv.BackendSpec('objective', 'a:B')]\nplugin = Plugin()\n"
    )
    install("object-dist", {"objective": "object_plugin:plugin"}, {"object_plugin": source})
    assert "objective" in [info.name for info in cv.backends()]


def test_discovery_runs_once_however_many_threads_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, found = [], discovery.find
    start = threading.Barrier(8)
    answers: list[list[str]] = []

    def find() -> list:
        calls.append(threading.get_ident())
        return found()

    def ask() -> None:
        start.wait()
        answers.append([plugin.name for plugin in cv.registry.plugins()])

    monkeypatch.setattr(discovery, "find", find)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len(answers) == 8
    assert all(answer == answers[0] and len(answer) >= 5 for answer in answers)


def test_order_does_not_depend_on_the_path(install: Callable, backend_plugin: Callable) -> None:
    for letter in "cab":
        install(f"{letter}-kit", {"kit": f"{letter}_kit"}, {f"{letter}_kit": backend_plugin(letter)})
    names = [plugin.distribution for plugin in cv.registry.plugins()]
    assert names == sorted(names)
    assert {"a-kit", "b-kit", "c-kit"} <= set(names)


def test_registered_by_hand_then_taken_out(offer: Callable) -> None:
    name = offer(cv.BackendSpec("kit", "absent:Absent"))
    assert "kit" in [info.name for info in cv.backends()]
    with pytest.raises(errors.PluginConflictError, match="unregister it first"):
        offer(cv.BackendSpec("other", "absent:Absent"))
    cv.registry.rediscover()
    assert "kit" in [info.name for info in cv.backends()]
    cv.unregister(name)
    assert "kit" not in [info.name for info in cv.backends()]
    with pytest.raises(LookupError, match="no plugin called 'offered'"):
        cv.unregister(name)


def test_registering_a_broken_plugin_by_hand_raises_and_leaves_nothing(make_plugin: Callable) -> None:
    def refuse() -> None:
        raise ValueError("not today")

    plugin = make_plugin({"curvature_register_backends": refuse})
    for _ in range(2):
        with pytest.raises(errors.PluginLoadError, match=r"'mine' \(registered by hand\) failed.*not today"):
            cv.register(plugin, name="mine")
    assert "mine" not in _statuses()


def test_hooks_that_are_called_reach_the_plugins(make_plugin: Callable) -> None:
    plugin = make_plugin({"curvature_adapt_model": lambda model, output: ("adapted", model, output)})
    cv.register(plugin, name="adapter")
    assert cv.registry.hooks().curvature_adapt_model(model=3, output="logits") == ("adapted", 3, "logits")
