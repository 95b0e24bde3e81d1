"""Without 64-bit types, in processes of their own: nothing is narrowed in silence, and nothing is turned on."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest


def run(program, **environment):
    env = {**os.environ, "JAX_ENABLE_X64": "0", **environment}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_float64_is_refused_with_the_remedy():
    run("""
    import numpy as np, pytest, jax, curvature as cv
    be = cv.backend("jax")
    for ask in (lambda: be.asarray(np.ones(2)), lambda: be.asarray([1.0], dtype="float64"),
                lambda: be.asarray(be.asarray([1.0]), dtype="float64"), lambda: cv.backend("jax", dtype="float64"),
                lambda: be.asarray(np.array([2**40])), lambda: be.asarray(np.arange(3), dtype="int64"),
                lambda: be.asarray(np.ones(2, dtype=complex))):
        with pytest.raises(cv.PrecisionError, match="jax_enable_x64.*JAX_ENABLE_X64=1"):
            ask()
    claim = be.capabilities["float64"]
    assert claim.support is cv.Support.IMPOSSIBLE and "jax_enable_x64" in claim.reason
    assert jax.config.jax_enable_x64 is False
    """)


def test_labels_and_lists_take_what_there_is():
    run("""
    import numpy as np, curvature as cv
    be = cv.backend("jax")
    labels = be.asarray(np.arange(3))
    assert str(labels.dtype) == "int32" and be.to_numpy(labels).tolist() == [0, 1, 2]
    assert str(be.asarray([1.5, 2.5]).dtype) == "float32"
    assert str(cv.backend("jax", dtype="float32").asarray(np.ones(2)).dtype) == "float32"
    """)


def test_the_claim_follows_the_callers_configuration():
    run("""
    import jax, numpy as np, curvature as cv
    be = cv.backend("jax")
    jax.config.update("jax_enable_x64", True)
    assert be.capabilities["float64"].supported
    assert str(be.asarray(np.ones(2)).dtype) == "float64"
    """)


@pytest.mark.parametrize("method", ["kfac", "diagonal", "exact"])
def test_training_in_float32(method):
    """The step of float32 is that of float64 to rounding: the same draws, no quiet mixing."""
    program = f"""
    import warnings; warnings.simplefilter("error")
    import numpy as np, jax, jax.numpy as jnp, curvature as cv
    r = np.random.default_rng(0)
    be = cv.backend("jax", dtype="float64" if jax.config.jax_enable_x64 else "float32")
    params = {{"w": be.asarray(r.standard_normal((3, 4))), "v": be.asarray(r.standard_normal((4, 2)))}}
    x, y = be.asarray(r.standard_normal((6, 3))), be.asarray(r.integers(0, 2, 6))
    problem = cv.Problem((lambda p, x: jnp.tanh(x @ p["w"]) @ p["v"], params), cv.Categorical(), (x, y))
    assert cv.MonteCarloFisher(problem).to_dense().dtype == params["w"].dtype  # draws labels, which are integers
    step = cv.approximate(cv.Fisher(problem), {method!r}).solve(problem.gradient(), damping=0.1)
    assert all(a.dtype == params["w"].dtype for a in step.values())
    print(*np.concatenate([np.asarray(a).ravel() for a in step.values()]))
    """
    single, double = ([float(word) for word in run(program, JAX_ENABLE_X64=flag).split()] for flag in "01")
    assert single == pytest.approx(double, rel=1e-4, abs=1e-5)
    assert single != double


def test_importing_imports_no_framework_and_changes_nothing():
    run("""
    import sys, curvature as cv, curvature_jax
    assert cv.as_model((lambda p, x: p, __import__("numpy").ones(2))).space.size == 2
    assert not {"jax", "flax", "equinox"} & set(sys.modules)
    import jax
    before = dict(jax.config.values)
    cv.backend("jax").asarray([1.0])
    assert dict(jax.config.values) == before
    """)
