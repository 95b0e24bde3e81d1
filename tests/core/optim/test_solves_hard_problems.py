"""``NaturalGradient()`` as it is on problems with known answers."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv

# NIST StRD, Misra1b (public domain): certified values to eleven digits.
MISRA_X = [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]
MISRA_Y = [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]
MISRA = (337.99746163, 3.9039091287e-4)


def minimised(problem, steps, **options):
    opt = cv.NaturalGradient(**options)
    params, state = problem.params, opt.init(problem)
    for _ in range(steps):
        params, state, _ = opt.step(params, state)
    return params


@pytest.mark.parametrize("start", [(500.0, 1e-4), (300.0, 2e-4)])
def test_certified_nonlinear_regression(be, start):
    x, y = (be.asarray(np.array(values)[:, None]) for values in (MISRA_X, MISRA_Y))
    model = cv.Model(
        lambda p, x: p["b1"] * (1 - (1 + p["b2"] * x / 2) ** -2),
        {"b1": be.asarray(np.array(start[0])), "b2": be.asarray(np.array(start[1]))},
    )
    params = minimised(cv.Problem(model, cv.Gaussian(), (x, y)), 60)
    assert float(params["b1"]) == pytest.approx(MISRA[0], rel=1e-8)
    assert float(params["b2"]) == pytest.approx(MISRA[1], rel=1e-8)


def test_a_narrow_bent_valley(be):
    """Rosenbrock's function as least squares, r = (10 (y - x²), 1 - x), from its usual start."""

    def residuals(p, x):
        xp = cv.namespace(p)
        return xp.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])

    start = be.asarray(np.array([-1.2, 1.0]))
    problem = cv.Problem(cv.Model(residuals, start), cv.Gaussian(), (None, be.asarray(np.zeros((1, 2)))))
    np.testing.assert_allclose(be.to_numpy(minimised(problem, 40)), [1.0, 1.0], rtol=1e-6)


def ising_energy(n):
    """(spins (2^n, n), the energy of log ψ (2^n,) in the periodic transverse-field Ising chain with J = h = 1, E_0)."""
    numbers = np.arange(2**n)
    spins = 1.0 - 2.0 * ((numbers[:, None] >> np.arange(n)) & 1)
    bonds = -np.sum(spins * np.roll(spins, 1, axis=1), axis=1)
    flips = [numbers ^ (1 << site) for site in range(n)]

    def energy(log_psi, asarray):
        xp = cv.namespace(log_psi)
        psi = xp.exp(log_psi - xp.max(log_psi))
        image = asarray(bonds) * psi
        for flip in flips:
            image = image - xp.take(psi, asarray(flip), axis=0)
        return xp.sum(psi * image) / xp.sum(psi * psi), psi * psi / xp.sum(psi * psi)

    return spins, energy, -2 / np.sin(np.pi / (2 * n))


@pytest.mark.parametrize("initial", [None, 1e-8, 1e-4, 1e-1])
def test_the_ground_state_of_an_ising_chain(initial):
    """MATH §2.4: a restricted Boltzmann machine, by the sample-space solver, from any shift."""
    be, n = cv.backend("numpy"), 6
    spins, energy_of, ground = ising_energy(n)
    rng = np.random.default_rng(0)
    params = {"a": 0.01 * rng.standard_normal(n), "b": 0.01 * rng.standard_normal(n), "W": 0.01 * rng.standard_normal((n, n))}
    assert np.linalg.eigvalsh(_hamiltonian(n))[0] == pytest.approx(ground, rel=1e-12)

    def log_psi(p, s):
        xp = cv.namespace(p["a"])
        size = xp.abs(s @ p["W"] + p["b"])
        return s @ p["a"] + xp.sum(size + xp.log1p(xp.exp(-2 * size)), axis=1)

    class Energy:
        approximation = cv.approximation("sample-space", centred=True)

        def value(self, problem):
            return energy_of(log_psi(problem.params, spins), be.asarray)[0]

        def value_and_gradient(self, problem):
            return be.value_and_gradient(lambda p: energy_of(log_psi(p, spins), be.asarray)[0], problem.params)

        def sample(self, params):
            return spins, np.zeros((len(spins), 1)), energy_of(log_psi(params, spins), be.asarray)[1]

    problem = cv.Problem(cv.Model(log_psi, params), cv.Gaussian(), Energy().sample(params))
    options = {} if initial is None else {"damping": cv.DampingSearch(initial)}
    params = minimised(problem, 40, objective=Energy(), **options)
    assert float(Energy().value(problem.at(params))) == pytest.approx(ground, rel=1e-4)


def _hamiltonian(n):
    z, x, one = np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [1.0, 0.0]]), np.eye(2)

    def product(factors):
        total = np.eye(1)
        for factor in factors:
            total = np.kron(total, factor)
        return total

    total = np.zeros((2**n, 2**n))
    for i in range(n):
        total -= product([z if k in (i, (i + 1) % n) else one for k in range(n)])
        total -= product([x if k == i else one for k in range(n)])
    return total
