"""Triangular systems of any size, from blocks."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("n", [1, 2, 64, 65, 200])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_it_solves_and_reads_one_triangle(be, generator, n, lower, transposed):
    a = generator.standard_normal((n, n)) / n + np.eye(n)
    triangle = np.tril(a) if lower else np.triu(a)
    triangle = triangle.T if transposed else triangle
    for shape in ((n,), (n, 3)):
        b = generator.standard_normal(shape)
        x = be.to_numpy(be.solve_triangular(be.asarray(a), be.asarray(b), lower=lower, transposed=transposed))
        assert x.shape == shape
        np.testing.assert_allclose(triangle @ x, b, rtol=1e-10, atol=1e-12)
