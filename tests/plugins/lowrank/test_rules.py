"""rank="auto": the certified rule, the effective dimension, and what is said where neither can be kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curvature as cv
from curvature.operators import Dense

DECAY = 10.0 ** -np.linspace(0, 6, 90)


def host(operator):
    return operator.backend.to_numpy(operator.to_dense())


def relative_error(dense, near, damping):
    """‖(F + δI)⁻¹ - (F_k + δI)⁻¹‖₂ in units of 1/δ."""
    eye = np.eye(len(dense))
    return damping * np.linalg.norm(np.linalg.inv(dense + damping * eye) - np.linalg.inv(near + damping * eye), 2)


@pytest.mark.parametrize("damping", [1e-1, 1e-3, 3e-5])
@pytest.mark.parametrize("epsilon", [0.5, 0.1, 0.01])
def test_lanczos_keeps_exactly_the_pairs_that_the_rule_asks_for(with_spectrum, damping, epsilon, recwarn):
    operator, dense = with_spectrum(DECAY)
    near = cv.approximate(operator, "low-rank", solver="lanczos", damping=damping, epsilon=epsilon)
    assert near.rank == np.count_nonzero(np.greater(DECAY, epsilon * damping))
    assert relative_error(dense, host(near), damping) <= epsilon / (1 + epsilon) * (1 + 1e-6)
    assert not recwarn


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), exponent=st.floats(-5, 0), epsilon=st.sampled_from([0.5, 0.1]), slope=st.floats(0.05, 1.0))
def test_nystrom_reaches_what_the_rule_asks_for(seed, exponent, epsilon, slope):
    """The damped inverse is off by ε / (1 + ε) of 1/δ at most, though it costs a few more pairs than the best would have."""
    rng = np.random.default_rng(seed)
    values, damping = np.exp(-slope * np.arange(80)), 10.0**exponent
    q = np.linalg.qr(rng.standard_normal((80, 80)))[0]
    dense = (q * values) @ q.T
    dense = (dense + dense.T) / 2
    near = cv.approximate(Dense(dense), "low-rank", damping=damping, epsilon=epsilon, seed=seed)
    assert np.linalg.norm(dense - host(near), 2) <= epsilon * damping
    assert relative_error(dense, host(near), damping) <= epsilon / (1 + epsilon)
    assert near.rank <= np.sum(values > epsilon * damping / 2)


def test_the_rule_holds_for_a_fisher_of_several_batches(make_problem, recwarn):
    matrix = cv.Fisher(make_problem(12, (5, 7)))
    dense = host(matrix)
    values = np.sort(np.linalg.eigvalsh(dense))[::-1]
    damping = float(values[10])
    for solver in ("nystrom", "lanczos"):
        near = cv.approximate(matrix, "low-rank", solver=solver, damping=damping, epsilon=0.2)
        assert 0 < near.rank < 24
        assert relative_error(dense, host(near), damping) <= 0.2 / 1.2 * (1 + 1e-6)
    assert not [w for w in recwarn if issubclass(w.category, cv.CurvatureWarning)]


def test_earlier_products_are_used_again(with_spectrum, counting):
    """The sketch is doubled from 26 columns to 52 to 104; each column is multiplied once."""
    operator = counting(with_spectrum(10.0 ** -np.linspace(0, 13, 300))[0])
    method = cv.approximation("low-rank", damping=1e-2, epsilon=0.5)
    statistics = cv.estimate(operator, method, operator.backend)
    assert statistics["sketch"].shape == (300, 104)
    sketching, operator.products = operator.products, 0
    # What is beyond the 104 columns went into the norm of what the sketch misses.
    whole = cv.estimate(operator, cv.approximation("low-rank", rank=94), operator.backend)
    assert operator.products == 104
    assert 104 <= sketching <= 104 + 40
    found, expected = (operator.backend.to_numpy(s["sketch"]) for s in (statistics, whole))
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("options", [{}, {"solver": "lanczos"}, {"power_iterations": 1}])
def test_a_rule_out_of_reach_says_what_was_reached(with_spectrum, options):
    operator, dense = with_spectrum(10.0 ** -np.linspace(0, 2, 120))
    with pytest.warns(cv.CurvatureWarning, match=r"of rank 20 \(max_rank\) .* not the 0.1 that epsilon asks for") as caught:
        near = cv.approximate(operator, "low-rank", damping=1e-2, max_rank=20, **options)
    assert near.rank == 20
    text = str(caught[0].message)
    reached = float(text.partition("which is ")[2].partition(" of the damping")[0])
    left = np.linalg.norm(dense - host(near), 2)
    assert left / 1e-2 <= reached * 1.01  # a bound, and no idle one
    assert reached < 3 * left / 1e-2
    error = float(text.partition("off by up to ")[2].partition(" of 1 /")[0])
    assert relative_error(dense, host(near), 1e-2) <= error * 1.01


def test_without_a_damping_there_is_nothing_to_certify(with_spectrum, recwarn):
    operator, _ = with_spectrum(DECAY)
    for solver in ("nystrom", "lanczos"):
        assert cv.approximate(operator, "low-rank", max_rank=30, solver=solver).rank == 30
    assert cv.approximate(operator, "low-rank", max_rank=None, solver="nystrom").rank == 90
    assert not recwarn


@pytest.mark.parametrize("options", [{}, {"solver": "lanczos"}, {"power_iterations": 1}])
def test_the_effective_dimension_sets_the_rank(with_spectrum, options, recwarn):
    operator, _ = with_spectrum(DECAY)
    for damping in (1.0, 1e-1, 1e-2):
        dimension = np.sum(DECAY / (DECAY + damping))
        near = cv.approximate(operator, "low-rank", rule="effective-dimension", damping=damping, **options)
        # For 90 parameters the trace is had exactly.
        assert near.rank == min(90, 2 * np.ceil(1.5 * dimension) + 1)
    assert not recwarn
    with pytest.warns(cv.CurvatureWarning, match=r"effective dimension at damping 1e-05 .* 10 are kept \(max_rank\)"):
        near = cv.approximate(operator, "low-rank", rule="effective-dimension", damping=1e-5, max_rank=10, **options)
    assert near.rank == 10


def test_the_effective_dimension_makes_a_good_preconditioner(with_spectrum):
    """The condition number that is left is below 28 in the mean (Frangella, Tropp and Udell 2023, theorem 5.1)."""
    conditions = []
    for seed in range(10):
        operator, dense = with_spectrum(10.0 ** -np.linspace(0, 5, 80), seed=seed)
        damping = 1e-3
        near = cv.approximate(operator, "low-rank", rule="effective-dimension", damping=damping, oversampling=0, seed=seed)
        u, values = (operator.backend.to_numpy(a) for a in (near.vectors, near.values))
        last = values[-1] + damping
        root = np.eye(80) + (u * (np.sqrt(last / (values + damping)) - 1)) @ u.T
        conditions.append(np.linalg.cond(root @ (dense + damping * np.eye(80)) @ root))
    assert np.mean(conditions) < 28
    assert np.linalg.cond(dense + damping * np.eye(80)) > 900
