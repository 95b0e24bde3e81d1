"""Every test here runs over NumPy and over the strictest namespace there is; some over PyTorch's and JAX's too."""

from __future__ import annotations

from typing import Any

import array_api_compat.numpy
import array_api_compat.torch
import array_api_strict
import numpy as np
import pytest


class Library:
    """One namespace, with arrays made from and turned into NumPy's."""

    def __init__(self, xp: Any, dtype: str = "float64") -> None:
        self.xp = xp
        self.dtype = dtype

    def array(self, values: Any) -> Any:
        return self.xp.asarray(np.asarray(values, dtype=self.dtype))

    def integers(self, values: Any) -> Any:
        return self.xp.asarray(np.asarray(values, dtype=np.int64))

    def normal(self, *shape: int, seed: int = 0) -> Any:
        return self.array(np.random.default_rng((seed, *shape)).normal(size=shape))


LIBRARIES = {"numpy": array_api_compat.numpy, "strict": array_api_strict, "torch": array_api_compat.torch}


@pytest.fixture(params=sorted(LIBRARIES))
def lib(request: pytest.FixtureRequest) -> Library:
    return Library(LIBRARIES[request.param])


@pytest.fixture(params=sorted(LIBRARIES))
def lib32(request: pytest.FixtureRequest) -> Library:
    return Library(LIBRARIES[request.param], "float32")
