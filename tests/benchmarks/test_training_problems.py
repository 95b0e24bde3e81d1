"""The problems of benchmarks/training against closed forms."""

from __future__ import annotations

from itertools import pairwise, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training import problems
from training.problems import curves, ising
from training.problems.poisson import glorot, laplacian, network


@pytest.mark.parametrize("name", ["poisson-2d", "poisson-5d"])
def test_the_solution_leaves_no_residual(name: str) -> None:
    problem = problems.make(name)
    found = jax.vmap(lambda x: laplacian(problem.solution, x))(problem.interior)
    np.testing.assert_allclose(found, -problem.source, atol=1e-11)
    np.testing.assert_allclose(jax.vmap(problem.solution)(problem.boundary), problem.on_boundary)
    on_a_side = (problem.boundary == 0) | (problem.boundary == 1)
    assert bool(jnp.all(jnp.any(on_a_side, axis=1)))
    assert bool(jnp.all((problem.interior > 0) & (problem.interior < 1)))


def test_residuals_and_their_jacobian_are_those_of_the_objective() -> None:
    problem = problems.make("poisson-2d", seed=3)
    theta = jnp.asarray(problem.start)
    assert theta.shape == (129,)
    assert problem.residuals(theta).shape == (1020,)
    inner = jax.vmap(problem.inner, (None, 0, 0))(theta, problem.interior, problem.source)
    outer = jax.vmap(problem.outer, (None, 0, 0))(theta, problem.boundary, problem.on_boundary)
    value, gradient = jax.value_and_grad(problem.objective)(theta)
    np.testing.assert_allclose(value, 0.5 * (jnp.mean(inner**2) + jnp.mean(outer**2)), rtol=1e-12)
    np.testing.assert_allclose(problem.jacobian(theta).T @ problem.residuals(theta), gradient, rtol=1e-9, atol=1e-9)


def test_the_laplacian_of_the_network_is_that_of_its_closed_form() -> None:
    params = glorot(np.random.default_rng(0), (3, 5, 1))
    x = jnp.asarray([0.2, 0.5, 0.9])
    (w, b), a = (params[0]["weight"], params[0]["bias"]), params[1]["weight"][:, 0]
    t = jnp.tanh(x @ w + b)
    expected = jnp.sum(a * -2 * t * (1 - t**2) * jnp.sum(w**2, axis=0))
    np.testing.assert_allclose(laplacian(lambda z: network(params, z)[0], x), expected, rtol=1e-12)


def hamiltonian(n: int) -> np.ndarray:
    """-Σ σᶻσᶻ - Σ σˣ on a ring, dense, from the definition; state k has spin i down where bit i is set."""
    dense = np.zeros((2**n, 2**n))
    for k, i in product(range(2**n), range(n)):
        spins = [1 - 2 * (k >> site & 1) for site in (i, (i + 1) % n)]
        dense[k, k] -= spins[0] * spins[1]
        dense[k ^ 1 << i, k] -= 1
    return dense


def test_the_energy_of_a_chain_is_that_of_exact_diagonalisation() -> None:
    problem, exact = ising.Problem(seed=1, n=4), hamiltonian(4)
    assert np.linalg.eigvalsh(exact)[0] == pytest.approx(ising.ground_energy(4), rel=1e-12)
    params = {name: 20 * value for name, value in problem.unravel(jnp.asarray(problem.start)).items()}
    log_psi = np.asarray(problem.log_psi(params, problem.spins))
    psi = np.exp(log_psi)
    weights, local = problem.weights_and_local_energies(params)
    np.testing.assert_allclose(weights, psi**2 / np.sum(psi**2), rtol=1e-12)
    np.testing.assert_allclose(local, exact @ psi / psi, rtol=1e-12)
    energy, gradient = problem.energy_and_gradient(params)
    assert float(energy) == pytest.approx(psi @ exact @ psi / (psi @ psi), rel=1e-12)
    # ∇E = 2 Cov(E(s), ∇log ψ(s)), for the fields a: ∂log ψ/∂a_i = s_i.
    spins = np.asarray(problem.spins)
    expected = 2 * (weights * (local - energy)) @ spins
    np.testing.assert_allclose(gradient["a"], expected, rtol=1e-10, atol=1e-12)


def test_twelve_spins_have_the_ground_energy_of_free_fermions() -> None:
    problem = problems.make("ising")
    assert problem.start.shape == (168,)
    assert problem.ground == pytest.approx(-15.32259515, abs=1e-8)
    # All parameters zero: every configuration alike, which is the ground state of the field alone, of energy -n h.
    assert problem.measure(np.zeros(168))["energy"] == pytest.approx(-12, rel=1e-12)


def test_images_of_curves_have_the_principal_components_that_they_should() -> None:
    x = curves.images(3000)
    assert x.shape == (3000, 784)
    assert x.dtype == np.float32
    assert x.min() >= 0
    assert x.max() <= 1
    assert curves.residual(x, 18) == pytest.approx(5.96, rel=0.04)
    assert curves.residual(x, 6) == pytest.approx(10.2, rel=0.04)


def test_the_autoencoder_is_the_one_of_the_literature() -> None:
    assert sum(inputs * outputs + outputs for inputs, outputs in pairwise(curves.SIZES)) == 842_340
    weight = curves.sparse(np.random.default_rng(0), 400, 200)["weight"]
    assert set(np.count_nonzero(weight, axis=0)) == {15}
    assert weight.std() == pytest.approx((15 / 400) ** 0.5, rel=0.05)


def test_softmax_regression_reaches_its_optimum_by_newton() -> None:
    problem = problems.make("softmax")
    theta = jnp.asarray(problem.start)
    assert problem.measure(theta)["loss"] == pytest.approx(np.log(10))
    gradient = jax.jit(jax.grad(problem.objective))
    x = np.asarray(problem.x)
    for _ in range(8):
        p = np.asarray(jax.nn.softmax(problem.x @ problem.unravel(theta)["weight"]))
        hessian = problem.l2 * np.eye(650).reshape(65, 10, 65, 10)
        for a, b in product(range(10), range(10)):
            curvature = p[:, a] * ((a == b) - p[:, b]) / len(x)
            hessian[:, a, :, b] += x.T @ (x * curvature[:, None])
        theta = theta - np.linalg.solve(hessian.reshape(650, 650), np.asarray(gradient(theta)))
    assert abs(problem.measure(theta)["error"]) < 1e-13


@pytest.mark.parametrize("name", ["digits", "text"])
def test_modules_and_figures_agree(name: str) -> None:
    problem = problems.make(name)
    module = problem.module()
    figures = problem.measure(module)
    assert problem.measure(dict(module.named_parameters())) == pytest.approx(figures, rel=1e-5)
    x, y = next(problem.minibatches())
    assert len(x) == problem.batch
    assert float(problem.loss(module, x, y).detach()) == pytest.approx(figures["train"], rel=0.3)


def test_digits_are_measured_alike_in_numpy_and_torch() -> None:
    problem = problems.make("digits")
    assert problem.measure(problem.layers) == pytest.approx(problem.measure(problem.module()), rel=1e-5)
    x, y = problem.data()
    assert float(problem.loss(problem.module(), x, y).detach()) == pytest.approx(
        problem.measure(problem.layers)["train"], rel=1e-5
    )
