"""CuPy on a CUDA device: these run where there is one, and are skipped with the reason where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature_conformance import issues

INFO = next(info for info in cv.backends() if info.name == "cupy")
pytestmark = pytest.mark.skipif(INFO.status != "usable", reason=INFO.reason or "CuPy is usable")


@pytest.fixture
def be() -> Any:
    return cv.backend("cupy", device="cuda")


@pytest.mark.parametrize("subject", ["cupy", *(info.name for info in cv.approximations())])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_conforms(subject: str, dtype: str) -> None:
    backend = None if subject == "cupy" else "cupy"
    assert issues(subject, backend=backend, device="cuda", dtype=dtype) == []


@pytest.mark.parametrize("row", [0, 1, 63, 99])
def test_a_factorisation_that_breaks_off_is_no_success(be: Any, row: int) -> None:
    """cuSOLVER stops at the row and leaves finite numbers behind it; only its status tells."""
    matrix = np.eye(100)
    matrix[row, row] = -1.0
    _, ok = be.cholesky(be.asarray(matrix))
    assert ok is False


def test_eigenvalues_of_what_is_not_finite_are_refused(be: Any) -> None:
    with pytest.raises(cv.ConvergenceError, match="not finite"):
        be.eigh(be.asarray(np.full((3, 3), np.nan)))


@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4)])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
def test_triangular_systems_and_stacks_of_them(be: Any, shape: tuple[int, ...], lower: bool, transposed: bool) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=shape) + 4 * np.eye(4), rng.normal(size=(*shape[:-1], 2))
    triangle = np.tril(a) if lower else np.triu(a)
    expected = np.linalg.solve(np.swapaxes(triangle, -1, -2) if transposed else triangle, b)
    found = be.solve_triangular(be.asarray(a), be.asarray(b), lower=lower, transposed=transposed)
    np.testing.assert_allclose(be.to_numpy(found), expected, rtol=1e-12)


def test_memory_counts_what_is_held(be: Any) -> None:
    before = be.memory()
    held = be.asarray(np.zeros(2**20))
    be.synchronize()
    assert be.memory() - before >= held.nbytes


def test_ways_to_name_a_device(be: Any) -> None:
    import cupy

    assert be == cv.backend("cupy", device="cuda:0") == cv.backend("cupy", device=0)
    assert be == cv.backend("cupy", device=cupy.cuda.Device(0))
    with pytest.raises(cv.UnsupportedError, match="only CUDA devices"):
        cv.backend("cupy", device="cpu")
    with pytest.raises(cv.BackendUnavailableError, match="no device 'cuda:99'"):
        cv.backend("cupy", device="cuda:99")


def test_another_device_than_the_current_one_is_refused_with_the_remedy(be: Any) -> None:
    import cupy

    if len(be.devices()) < 2:
        pytest.skip("needs two CUDA devices")
    with pytest.raises(cv.UnsupportedError, match=r"with cupy.cuda.Device\(1\)"):
        cv.backend("cupy", device="cuda:1")
    with cupy.cuda.Device(1):
        elsewhere = cv.backend("cupy", device="cuda:1")
        assert elsewhere.asarray(be.asarray([1.0, 2.0])).device.id == 1
        assert issues(elsewhere, only_checks="linear-algebra/*") == []
