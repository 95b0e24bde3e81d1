"""Eigenbases: against NumPy, of few rows, from an earlier basis, and where a library gives up."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

import curvature as cv
from curvature_kronecker.eigenbasis import drift, eigenbases, iterated, thin_eigenbases


def spd(rng, n):
    a = rng.standard_normal((n, 2 * n))
    return a @ a.T / n


def test_of_several_matrices(be, generator):
    matrices = {"a": spd(generator, 4), "b": spd(generator, 3), "c": spd(generator, 4)}
    found = eigenbases(be, {name: be.asarray(m) for name, m in matrices.items()})
    assert list(found) == ["a", "b", "c"]
    for name, matrix in matrices.items():
        values, vectors = (be.to_numpy(x) for x in found[name])
        np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), rtol=1e-12)
        np.testing.assert_allclose((vectors * values) @ vectors.T, matrix, atol=1e-13)
    assert eigenbases(be, {}) == {}


@pytest.mark.parametrize("rank", [4, 2, 0])
def test_of_few_rows(be, generator, rank):
    """XᵀX in the span of the rows; the basis is orthonormal also where some rows depend on others, or all are zero."""
    rows = {name: generator.standard_normal((4, rank)) @ generator.standard_normal((rank, 9)) for name in "ab"}
    found = thin_eigenbases(be, {name: be.asarray(x) for name, x in rows.items()})
    for name, x in rows.items():
        values, vectors, coordinates = (be.to_numpy(a) for a in found[name])
        assert vectors.shape == (9, 4)
        np.testing.assert_allclose(coordinates, x @ vectors, atol=1e-13)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-13)
        np.testing.assert_allclose((vectors * values) @ vectors.T, x.T @ x, atol=1e-12)


def test_badly_scaled_rows(be, generator):
    """Singular values over twelve decades, whose squares leave float64: orthonormal to rounding, and none of them lost."""
    left, right = (np.linalg.qr(generator.standard_normal((n, 5)))[0] for n in (5, 8))
    x = left @ np.diag(10.0 ** -np.arange(0, 15, 3)) @ right.T
    vectors = be.to_numpy(thin_eigenbases(be, {"x": be.asarray(x)})["x"][1])
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(5), atol=1e-13)
    np.testing.assert_allclose(vectors @ (vectors.T @ x.T), x.T, atol=1e-15)


def test_drift_is_the_off_diagonal_mass(be, generator):
    matrix = spd(generator, 5)
    vectors = np.linalg.eigh(matrix)[1]
    gap, values = drift(be, be.asarray(matrix), be.asarray(vectors))
    assert float(gap) < 1e-14
    np.testing.assert_allclose(be.to_numpy(values), np.linalg.eigvalsh(matrix), rtol=1e-12)
    other = np.linalg.qr(generator.standard_normal((5, 5)))[0]
    rotated = other.T @ matrix @ other
    expected = np.linalg.norm(rotated - np.diag(np.diag(rotated))) / np.linalg.norm(matrix)
    np.testing.assert_allclose(float(drift(be, be.asarray(matrix), be.asarray(other))[0]), expected, rtol=1e-12)
    assert float(drift(be, be.asarray(np.zeros((5, 5))), be.asarray(other))[0]) == 0.0


def test_orthogonal_iteration_converges_to_the_eigenbasis(be, generator):
    matrix = np.diag([5.0, 3.0, 2.0, 1.0, 0.0]) + 0.1 * spd(generator, 5)
    basis = be.asarray(np.linalg.qr(generator.standard_normal((5, 5)))[0])
    for _ in range(150):
        values, basis = iterated(be, be.asarray(matrix), basis)
    assert float(drift(be, be.asarray(matrix), basis)[0]) < 1e-8
    np.testing.assert_allclose(np.sort(be.to_numpy(values)), np.linalg.eigvalsh(matrix), rtol=1e-8)


class GivesUp(cv.ArrayBackend):
    """An eigendecomposition that fails in float32, as LAPACK's sometimes does; with ``silent`` it returns NaN, and with
    ``until`` it fails that many times more.
    """

    silent = False
    until = 0

    def eigh(self, a):
        bad = a.dtype == self.xp.float32 or self.until > 0
        if not bad:
            return super().eigh(a)
        if a.dtype != self.xp.float32:
            type(self).until -= 1
        if self.silent:
            return self.xp.full_like(a[..., 0], float("nan")), a
        raise np.linalg.LinAlgError("did not converge")


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("until", [0, 2])
def test_a_failure_in_float32_is_tried_in_float64(generator, silent, until, monkeypatch):
    monkeypatch.setattr(GivesUp, "silent", silent)
    monkeypatch.setattr(GivesUp, "until", until)
    be = GivesUp("gives-up", array_api_strict)
    matrices = {name: be.asarray(spd(generator, 3), dtype="float32") for name in "ab"}
    for name, (values, vectors) in eigenbases(be, matrices).items():
        assert values.dtype == vectors.dtype == be.xp.float32
        q = be.to_numpy(vectors)
        np.testing.assert_allclose((q * be.to_numpy(values)) @ q.T, be.to_numpy(matrices[name]), atol=1e-5)


def test_what_never_converges_names_the_layer(generator, monkeypatch):
    monkeypatch.setattr(GivesUp, "until", 100)
    be = GivesUp("gives-up", array_api_strict)
    model = cv.Model(lambda p, x: x @ p["w"], {"w": be.asarray(generator.standard_normal((3, 2)))}, backend=be)
    data = be.asarray(generator.standard_normal((4, 3))), be.asarray(generator.integers(0, 2, 4))
    with pytest.raises(cv.ConvergenceError, match=r"the factor [AG] of layer 'w' \(\d × \d\) did not converge.*damping"):
        cv.approximate(cv.Fisher(cv.Problem(model, cv.Categorical(), data)), "ekfac")
