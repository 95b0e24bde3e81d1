"""What leaving a probe out, or two, gives by small matrices, against the same from the vectors themselves."""

from __future__ import annotations

import numpy as np
import pytest

from curvature.linalg import diagonal, frobenius_norm, trace
from curvature.linalg.jackknife import dependent_mean, leave_out, pair_weights
from curvature.operators import Dense

N, M = 30, 6


def without(omega, sketch, *left_out):
    """The projector on the range of the sketch without some of its columns."""
    kept = [i for i in range(omega.shape[1]) if i not in left_out]
    q = np.linalg.qr(sketch[:, kept])[0]
    return q @ q.T, len(kept)


def direct(matrix, omega, sketch, i, *others):
    """tr Qᵀ A Q + c uᵀ A u of probe i, with the basis of all probes but i and the others."""
    projector, kept = without(omega, sketch, i, *others)
    u = omega[:, i] - projector @ omega[:, i]
    return np.trace(projector @ matrix) + (N - kept) / (u @ u) * (u @ matrix @ u)


@pytest.mark.parametrize("symmetric", [True, False])
def test_leave_out(generator, symmetric):
    matrix = generator.standard_normal((N, N))
    matrix = matrix + matrix.T if symmetric else matrix
    omega = generator.standard_normal((N, M))
    omega *= N**0.5 / np.linalg.norm(omega, axis=0)
    sketch = matrix @ omega
    q, r = np.linalg.qr(sketch)
    s = np.linalg.inv(r).T
    s /= np.linalg.norm(s, axis=0)
    z = matrix @ q
    w = q.T @ omega
    single, pairs = leave_out(np.sum(w * r, axis=0), r + z.T @ omega, q.T @ z, w, s, N)
    np.testing.assert_allclose(single, [direct(matrix, omega, sketch, i) for i in range(M)], rtol=1e-8)
    for i in range(M):
        for j in range(M):
            if i != j:
                assert pairs[i, j] == pytest.approx(direct(matrix, omega, sketch, i, j), rel=1e-8)


def test_pairs_of_one_direction_are_one(generator):
    s = np.linalg.qr(generator.standard_normal((5, 5)))[0][:, [0, 1, 0]] * np.asarray([1, 1, -1.0])
    p, q, p_other = pair_weights(s)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        a, b = s[:, i], s[:, j]
        found = p[i, j] * np.outer(a, a) + q[i, j] * (np.outer(a, b) + np.outer(b, a)) + p_other[i, j] * np.outer(b, b)
        pair = s[:, [i, j]]
        np.testing.assert_allclose(found, pair @ np.linalg.pinv(pair), atol=1e-12)


def fixed(function, matrix, seed=3):
    """An estimate from exactly M probes, and those probes."""
    method = "xdiag" if function is diagonal else "xtrace"
    estimate = function(Dense(matrix), method=method, tolerance=1e-15, max_products=2 * M, seed=seed)
    rng = Dense(matrix).backend.rng(seed)
    if function is diagonal:
        return estimate, rng.rademacher((M, len(matrix))).T
    omega = rng.normal((M, len(matrix))).T
    return estimate, omega * len(matrix) ** 0.5 / np.linalg.norm(omega, axis=0)


def test_xtrace_is_its_definition(symmetric):
    matrix = symmetric(np.linspace(-1, 3, N))
    estimate, omega = fixed(trace, matrix)
    single = np.asarray([direct(matrix, omega, matrix @ omega, i) for i in range(M)])
    pairs = np.asarray([[direct(matrix, omega, matrix @ omega, i, j) if i != j else 0 for j in range(M)] for i in range(M)])
    assert estimate.probes == M
    assert estimate.value == pytest.approx(single.mean(), rel=1e-9)
    assert estimate.standard_error == pytest.approx(dependent_mean(single, pairs)[1], rel=1e-7)


def test_xtrace_of_the_square_is_its_definition(symmetric):
    matrix = symmetric(np.linspace(-1, 3, N))
    estimate, omega = fixed(frobenius_norm, matrix)
    single = np.asarray([direct(matrix @ matrix, omega, matrix @ omega, i) for i in range(M)])
    assert estimate.value**2 == pytest.approx(single.mean(), rel=1e-9)


def test_xdiag_is_its_definition(symmetric):
    matrix = symmetric(np.linspace(-1, 3, N))
    estimate, omega = fixed(diagonal, matrix)
    sketch = matrix @ omega

    def value(i, *others):
        projector, _ = without(omega, sketch, i, *others)
        return np.diag(projector @ matrix) + omega[:, i] * (sketch[:, i] - projector @ sketch[:, i])

    single = np.stack([value(i) for i in range(M)])
    mean = single.mean(axis=0)
    leave_one = np.stack([np.mean([value(i, j) for i in range(M) if i != j], axis=0) for j in range(M)])
    independent = np.sum((single - mean) ** 2, axis=0) / (M * (M - 1))
    jackknife = np.sum((leave_one - leave_one.mean(axis=0)) ** 2, axis=0) * (M - 1) / M
    np.testing.assert_allclose(estimate.value, mean, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(estimate.standard_error, (independent * jackknife) ** 0.25, rtol=1e-7)


def test_it_is_the_standard_error_where_values_are_independent(generator):
    """t_ij = t_i: the mean of independent values, whose jackknife is the usual standard error."""
    single = generator.standard_normal(50)
    pairs = np.broadcast_to(single[:, None], (50, 50))
    mean, error = dependent_mean(single, pairs)
    assert mean == pytest.approx(single.mean())
    assert error == pytest.approx(single.std(ddof=1) / 50**0.5, rel=0.03)
