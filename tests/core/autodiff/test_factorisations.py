"""Factorisations: done once, and only when needed; repeated values; the rank."""

from __future__ import annotations

import types

import array_api_compat.numpy as numpy_xp
import numpy as np
import pytest

from curvature import autodiff
from curvature.autodiff.namespace import Operations
from curvature.autodiff.tape import ReverseTrace
from curvature.backend import namespace


class Counted:
    """NumPy, with a count of the calls of linalg."""

    def __init__(self):
        self.calls = []
        self.linalg = types.SimpleNamespace(**{name: self._counted(name) for name in dir(numpy_xp.linalg) if name[0] != "_"})

    def _counted(self, name):
        function = getattr(numpy_xp.linalg, name)
        return lambda *a, **k: self.calls.append(name) or function(*a, **k)

    def __getattr__(self, name):
        return getattr(numpy_xp, name)


FUNCTIONS = {
    "det": (lambda l, a: l.det(a), ["det"], ["inv"]),
    "slogdet": (lambda l, a: sum(l.slogdet(a)), ["slogdet"], ["inv"]),
    "cholesky": (lambda l, a: l.cholesky(a), ["cholesky"], ["inv"]),
    "inv": (lambda l, a: l.inv(a), ["inv"], []),
    "pinv": (lambda l, a: l.pinv(a), ["pinv"], []),
    "eigh": (lambda l, a: (lambda e: e[1] * e[0])(l.eigh(a)), ["eigh"], []),
    "eigvalsh": (lambda l, a: l.eigvalsh(a), ["eigh"], []),
    "svd": (lambda l, a: (lambda e: e[0] * e[1] @ e[2])(l.svd(a)), ["svd"], []),
    "svdvals": (lambda l, a: l.svdvals(a), ["svd"], []),
    "qr": (lambda l, a: (lambda f: f[0] + f[1])(l.qr(a)), ["qr"], ["inv", "inv"]),
    "matrix_norm": (lambda l, a: l.matrix_norm(a, ord="nuc"), ["svd"], []),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_factorisation_serves_the_value_and_all_derivatives(name):
    """Recording does no more than the function itself; what the derivative needs comes with its first use, and stays."""
    f, at_first, for_derivatives = FUNCTIONS[name]
    xp = Counted()
    op = Operations(xp)
    a = np.diag([1.0, 2.0, 4.0]) + 0.1
    trace = ReverseTrace()
    x = trace.leaf(a, op)
    y = f(op.ns.linalg, x)
    assert xp.calls == at_first
    from curvature.autodiff.tape import Graph

    graph = Graph([y._node], op)
    for _ in range(2):
        graph.push({x._node: a})
        graph.pull([np.ones(y.shape)], [x._node])
    assert sorted(xp.calls) == sorted(at_first + for_derivatives)


def test_symmetric_functions_of_repeated_eigenvalues_are_differentiated(lib):
    """∇ Σ exp(λᵢ(A)) = exp(A), at a matrix whose eigenvalues repeat."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    values = np.array([1.0, 1.0, 1.0, 2.0])
    a = lib.array(basis @ np.diag(values) @ basis.T)
    a = (a + lib.xp.matrix_transpose(a)) / 2.0
    gradient = autodiff.gradient(lambda a: namespace(a).sum(namespace(a).exp(namespace(a).linalg.eigvalsh(a))))(a)
    np.testing.assert_allclose(np.asarray(gradient), basis @ np.diag(np.exp(values)) @ basis.T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("function", ["eigh", "svd"])
def test_vectors_of_repeated_values_have_no_derivative(lib, function, rotate):
    """V exp(Λ) Vᵀ at the identity: zero for the reciprocal of the gap would give a wrong number; it must not be finite.

    Rotated, the values differ by rounding only, which must not be taken for a gap.
    """
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0] if rotate else np.eye(3)
    a = lib.array(basis @ basis.T)
    t = lib.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])

    def exponential(a):
        xp = namespace(a)
        if function == "eigh":
            values, vectors = xp.linalg.eigh(a)
            return (vectors * xp.exp(values)) @ vectors.mT
        u, s, vh = xp.linalg.svd(a)
        return (u * xp.exp(s)) @ vh

    _, push, pull = autodiff.linearize(exponential, a)
    assert np.any(np.isnan(np.asarray(push(t))))
    assert np.any(np.isnan(np.asarray(pull(t))))


def test_distinct_values_in_one_block_do_not_suffer_from_scale(lib):
    """A gap of 10⁻⁶ is one: V exp(Λ) Vᵀ has the derivative (e^b - e^a) / (b - a) between the two vectors."""
    values = np.array([1.0, 1.0 + 1e-6])
    t = lib.array([[0.0, 1.0], [1.0, 0.0]])

    def exponential(a):
        xp = namespace(a)
        values, vectors = xp.linalg.eigh(a)
        return (vectors * xp.exp(values)) @ vectors.mT

    _, dy = autodiff.jvp(exponential, lib.array(np.diag(values)), t)
    expected = np.exp(values[0]) * np.expm1(1e-6) / 1e-6
    np.testing.assert_allclose(np.asarray(dy), [[0, expected], [expected, 0]], rtol=1e-9, atol=1e-12)


def test_pseudoinverse_among_matrices_of_one_rank(lib):
    """At a matrix of rank 2, along a curve of such matrices, and against a central difference."""
    left, right = lib.normal(4, 2), lib.normal(2, 3)
    dl, dr = lib.normal(4, 2, seed=1), lib.normal(2, 3, seed=1)

    def f(p):
        return namespace(p[0]).linalg.pinv(p[0] @ p[1], rtol=1e-10)

    _, dy = autodiff.jvp(f, [left, right], [dl, dr])
    l, r, dl, dr = (np.asarray(a) for a in (left, right, dl, dr))
    ahead, behind = (np.linalg.pinv((l + s * dl) @ (r + s * dr), rcond=1e-10) for s in (1e-6, -1e-6))
    np.testing.assert_allclose(np.asarray(dy), (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0)])
@pytest.mark.parametrize("function", ["inv", "det", "eigvalsh", "cholesky"])
def test_empty_matrices(shape, function):
    x = np.zeros(shape)
    y, push, pull = autodiff.linearize(lambda x: getattr(namespace(x).linalg, function)(x), x)
    assert push(x).shape == y.shape
    assert pull(y).shape == shape


def test_products_over_axes_of_different_length_are_refused(lib):
    a, b = lib.normal(3, 1), lib.normal(3, 2)
    for call in (lambda x: namespace(x).vecdot(x, b), lambda x: namespace(x).tensordot(x, b, axes=((0, 1), (1, 0)))):
        with pytest.raises(ValueError, match="differ"):
            autodiff.vjp(call, a)
