"""What was reached when the user interrupts is not lost."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature import linalg
from curvature.operators import MatrixFree


def interrupting(after, n=4000):
    """A map whose product is interrupted once it has been applied to ``after`` columns, and the matrix."""
    seen = [0]
    entries = 1 + np.arange(n) % 5
    row = np.linspace(0, 1, n) / n**0.5

    def product(v):
        seen[0] += v.shape[1]
        if seen[0] > after:
            raise KeyboardInterrupt
        return entries[:, None] * v + 10 * row[:, None] * (row @ v)

    free = MatrixFree(product, n, dtype=np.dtype("float64"), backend=cv.backend("numpy"))
    return free, entries + 10 * row**2


@pytest.mark.parametrize("method", ["xtrace", "hutch++", "hutchinson"])
def test_trace(method):
    free, diagonal = interrupting(200)
    with pytest.raises(KeyboardInterrupt) as caught:
        linalg.trace(free, method=method, tolerance=1e-9)
    partial = caught.value.partial
    assert isinstance(partial, linalg.Estimate)
    assert not partial.converged
    assert 100 <= partial.products <= 200
    assert partial.probes > 20
    assert abs(partial.value - diagonal.sum()) <= 6 * partial.standard_error
    assert any("partial" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("method", ["xdiag", "hutchinson"])
def test_diagonal(method):
    free, diagonal = interrupting(200)
    with pytest.raises(KeyboardInterrupt) as caught:
        linalg.diagonal(free, method=method, tolerance=1e-9)
    assert np.linalg.norm(caught.value.partial.value - diagonal) < 0.3 * np.linalg.norm(diagonal)


def test_logdet():
    free, _ = interrupting(300)
    with pytest.raises(KeyboardInterrupt) as caught:
        linalg.logdet(free, tolerance=1e-9)
    assert not caught.value.partial.converged
    assert caught.value.partial.probes >= 8


def test_density():
    free, _ = interrupting(500)
    with pytest.raises(KeyboardInterrupt) as caught:
        linalg.spectral_density(free, tolerance=1e-9)
    assert not caught.value.partial.converged


def test_eigenpairs():
    free, _ = interrupting(20)
    with pytest.raises(KeyboardInterrupt) as caught:
        linalg.eigenpairs(free, 3, tolerance=1e-12)
    pairs = caught.value.partial
    assert pairs.vectors.shape == (4000, 3)
    assert not pairs.converged


def test_too_early():
    free, _ = interrupting(0)
    for function in (linalg.trace, linalg.logdet, linalg.spectral_density):
        with pytest.raises(KeyboardInterrupt) as caught:
            function(free)
        assert getattr(caught.value, "partial", None) is None
