"""The transverse-field Ising chain of six spins with a restricted Boltzmann machine, all configurations summed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import curvature as cv
from curvature_samplespace.minsr import natural_gradient
from curvature_samplespace.spring import SPRING

from .conftest import flat

SPINS = 6
CONFIGURATIONS = np.array(list(itertools.product([-1.0, 1.0], repeat=SPINS)))
GROUND_STATE = -2 / np.sin(np.pi / (2 * SPINS))
"""Energy of the critical periodic chain, J = h = 1 (Pfeuty 1970)."""


def log_psi(p, s):
    xp = cv.namespace(s)
    hidden = p["b"] + s @ p["w"]
    return (s @ p["a"])[:, 0] + xp.sum(xp.log(xp.cosh(hidden)), axis=1)


def hamiltonian():
    """H = -Σ σᶻσᶻ - Σ σˣ on a ring."""
    matrix = np.diag(-np.sum(CONFIGURATIONS * np.roll(CONFIGURATIONS, 1, axis=1), axis=1))
    places = {tuple(s): i for i, s in enumerate(CONFIGURATIONS)}
    for i, s in enumerate(CONFIGURATIONS):
        for site in range(SPINS):
            flipped = s.copy()
            flipped[site] *= -1
            matrix[i, places[tuple(flipped)]] -= 1.0
    return matrix


H = hamiltonian()


def start(seed=0):
    random = np.random.default_rng(seed)
    return {name: 0.2 * random.standard_normal(shape) for name, shape in {"a": (6, 1), "b": (6,), "w": (6, 6)}.items()}


def measured(params):
    """(probabilities, local energies, log-derivatives) in NumPy, by hand."""
    values = log_psi(params, CONFIGURATIONS)
    psi = np.exp(values - values.max())
    slopes = np.tanh(params["b"] + CONFIGURATIONS @ params["w"])
    outer = (CONFIGURATIONS[:, :, None] * slopes[:, None, :]).reshape(len(psi), -1)
    return psi**2 / np.sum(psi**2), H @ psi / psi, np.concatenate([CONFIGURATIONS, slopes, outer], axis=1)


def problem(be, params, probabilities):
    arrays = {name: be.asarray(a) for name, a in params.items()}
    data = (be.asarray(CONFIGURATIONS), be.asarray(np.zeros(len(CONFIGURATIONS))), be.asarray(probabilities))
    return cv.Problem(cv.Model(log_psi, arrays, backend=be), cv.Gaussian(), data)


def reconfiguration(params, damping):
    """Stochastic reconfiguration on the side of the parameters: (S + λI)⁻¹ Σ p (O - Ō)(E - Ē)."""
    p, energies, derivatives = measured(params)
    centred = derivatives - p @ derivatives
    covariance = centred.T @ (p[:, None] * centred)
    force = centred.T @ (p * (energies - p @ energies))
    return np.linalg.solve(covariance + damping * np.eye(len(covariance)), force)


@pytest.mark.parametrize("damping", [1e-1, 1e-3])
def test_minsr_is_stochastic_reconfiguration(be, damping):
    params = start()
    p, energies, _ = measured(params)
    task = problem(be, params, p)
    expected = reconfiguration(params, damping)
    step = natural_gradient(cv.Fisher(task), be.asarray(energies), damping=damping, centred=True)
    np.testing.assert_allclose(flat(task, step), expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())
    # Local energies need not be centred, and the operator of the method is the same covariance.
    shifted = natural_gradient(cv.Fisher(task), be.asarray(energies - 3.0), damping=damping, centred=True)
    np.testing.assert_allclose(flat(task, shifted), flat(task, step), rtol=1e-9, atol=1e-11)
    with pytest.warns(cv.CurvatureWarning, match="64 rows, no fewer than the 48 parameters"):
        operator = cv.approximate(cv.Fisher(task), "sample-space", centred=True)
    _, _, derivatives = measured(params)
    covariance = np.cov(derivatives.T, aweights=p, ddof=0)
    np.testing.assert_allclose(be.to_numpy(operator.to_dense()), covariance, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", [SPRING(1e-3, 0.0, centred=True), SPRING(1e-3, 0.8, projection=1.0, centred=True)])
def test_it_finds_the_ground_state(method):
    """To a relative error of 1e-4 of the closed form, by minSR and by SPRING."""
    be, params, previous = cv.backend("numpy"), start(1), None
    for _ in range(100):
        p, energies, _ = measured(params)
        task = problem(be, params, p)
        previous = method.direction(cv.Fisher(task), previous, energies)
        update = method.update(previous, 0.1)
        params = {name: params[name] + update[name] for name in params}
    p, energies, _ = measured(params)
    np.testing.assert_allclose(np.linalg.eigvalsh(H)[0], GROUND_STATE, rtol=1e-12)
    assert 0 <= (p @ energies - GROUND_STATE) / abs(GROUND_STATE) < 1e-4
