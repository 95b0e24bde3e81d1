"""Progress: silent unless asked or long."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from curvature import linalg
from curvature.linalg import progress
from curvature.operators import Dense, Diagonal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def slow(symmetric):
    return Dense(symmetric(np.linspace(1, 2, 100)))


@pytest.mark.parametrize(
    "call",
    [
        linalg.trace,
        linalg.diagonal,
        linalg.frobenius_norm,
        linalg.spectral_norm,
        linalg.logdet,
        linalg.spectral_density,
        lambda a, **options: linalg.eigenpairs(a, 2, **options),
        lambda a, **options: linalg.apply_function(a, np.sqrt, np.ones(100), **options),
        lambda a, **options: linalg.nystrom(a, 5, **options),
    ],
)
def test_a_function_is_told(slow, call, capsys):
    told = []
    call(slow, progress=lambda done, total, text: told.append((done, total, text)))
    assert told
    done = [entry[0] for entry in told]
    assert done == sorted(done)
    assert all(0 < d <= total for d, total, _ in told)
    assert all(isinstance(text, str) and text for _, _, text in told)
    assert capsys.readouterr() == ("", "")


def test_nothing_is_shown_early_or_elsewhere_than_on_a_terminal(slow, capsys, monkeypatch):
    linalg.trace(slow)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    linalg.trace(slow)
    linalg.trace(slow, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_bar_appears_on_a_terminal_after_a_while(slow, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    linalg.trace(slow)
    assert terminal.getvalue() == ""
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    linalg.trace(slow)
    assert "trace" in terminal.getvalue()


def test_asked_for_without_rich(slow, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: None)
    linalg.trace(slow, progress=True)
    assert "trace: " in terminal.getvalue()
    assert "products" in terminal.getvalue()
    silent = Terminal()
    monkeypatch.setattr(sys, "stderr", silent)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    linalg.trace(slow)
    assert silent.getvalue() == ""


def test_the_bar_goes_away_when_something_fails(monkeypatch):
    closed = []
    monkeypatch.setattr(progress._RichBar, "close", lambda self: (closed.append(1), self._bar.stop()))
    monkeypatch.setattr(sys, "stderr", Terminal())
    entries = np.ones(200)

    class Failing(Diagonal):
        def _matmat(self, v):
            if v.shape[1] and self._calls:
                raise RuntimeError("device lost")
            self._calls = 1
            return super()._matmat(v)

        _calls = 0

    with pytest.raises(RuntimeError, match="device lost"):
        linalg.trace(Failing(entries), progress=True)
    assert closed == [1]
