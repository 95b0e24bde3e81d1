"""Every kind of operator, as a subject of the conformance suite."""

from __future__ import annotations

import numpy as np
import pytest

import curvature as cv
from curvature_conformance import issues


@pytest.mark.filterwarnings("ignore::curvature.CurvatureWarning")
def test_it_conforms(operator: cv.Operator, be: cv.Backend) -> None:
    if operator.shape[0] == 0:
        pytest.skip("no entries: nothing to test with")
    dense = be.to_numpy(operator.to_dense())
    found = issues(operator)
    if operator.symmetric and not np.allclose(dense, dense.T):
        assert any("symmetric is True" in message for message in found)
    else:
        assert found == []
