"""aᵀ a, computed by halves where the library would compute all of it."""

from __future__ import annotations

import numpy as np
import pytest

from curvature.backend import gram_by_panels


@pytest.mark.parametrize("shape", [(5, 3), (7, 128), (3, 200), (400, 131), (0, 130), (4, 0)])
def test_the_gram_matrix(be, generator, shape):
    a = generator.standard_normal(shape)
    for gram in (be.gram, lambda x: gram_by_panels(be.xp, x)):
        found = be.to_numpy(gram(be.asarray(a)))
        np.testing.assert_allclose(found, a.T @ a, rtol=1e-12, atol=1e-12)
