"""Inside of a program that is being compiled blocks are what they are outside, but "auto" cannot choose any."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import curvature as cv

jax = pytest.importorskip("jax")


@pytest.fixture(autouse=True)
def x64() -> Iterator[None]:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def solved(task, params, method):
    blocks = cv.approximate(cv.Fisher(task.at(params)), method)
    return blocks.solve(task.backend.asarray(np.ones(blocks.shape[0])), damping=0.1)


@pytest.mark.parametrize("partition", ["output-unit", {"weights": "*.w", "biases": "*.b"}, [0, 1, 2] * 7 + [0, 3]])
def test_compiled_and_not(tasks, partition):
    task = tasks(cv.backend("jax"), "mlp")
    method = cv.approximation("block-diagonal", partition=partition)
    compiled = jax.jit(lambda params: solved(task, params, method))(task.params)
    np.testing.assert_allclose(np.asarray(compiled), np.asarray(solved(task, task.params, method)), rtol=1e-9)


def test_auto_is_refused(tasks):
    task = tasks(cv.backend("jax"), "mlp")
    method = cv.approximation("block-diagonal", partition="auto")
    with pytest.raises(cv.UnsupportedError, match=r"cannot be chosen inside of a program.*partition=operator.report.plan"):
        jax.jit(lambda params: solved(task, params, method))(task.params)
    plan = cv.approximate(cv.Fisher(task), method).report.plan
    fixed = cv.approximation("block-diagonal", partition=plan)
    compiled = jax.jit(lambda params: solved(task, params, fixed))(task.params)
    np.testing.assert_allclose(np.asarray(compiled), np.asarray(solved(task, task.params, method)), rtol=1e-9)
