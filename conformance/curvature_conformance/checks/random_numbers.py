"""Random numbers: one seed, the same draws, on every backend."""

from __future__ import annotations

import numpy as np

from ..checklist import check
from ..failures import expect, expect_close
from ..setting import Setting

_SOURCE = "NumPy's Philox generator with the same seed: one seed gives the same draws on every backend"


@check("backend", "random", capability="arrays", source="Salmon, Moraes, Dror and Shaw 2011 (Philox), as NumPy implements it")
def the_draws_are_those_of_the_seed(setting: Setting) -> None:
    """Normal, uniform, Rademacher and integer draws are those that NumPy's Philox makes of the seed."""
    for seed in (0, 7):
        rng = setting.backend.rng(seed)
        host = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
        causes = "a generator of the framework's own, a seed that is ignored, draws made in float32"
        shape, dtype = (3, 4), setting.dtype
        expect_close(
            setting,
            rng.normal(shape, dtype=dtype),
            host.standard_normal(shape),
            f"rng({seed}).normal",
            formula=_SOURCE,
            causes=causes,
        )
        expect_close(
            setting, rng.uniform(shape, dtype=dtype), host.random(shape), f"rng({seed}).uniform", formula=_SOURCE, causes=causes
        )
        bits = np.unpackbits(np.frombuffer(host.bytes(2), dtype=np.uint8), count=12)
        signs = 2.0 * np.reshape(bits, shape) - 1.0
        expect_close(
            setting, rng.rademacher(shape, dtype=dtype), signs, f"rng({seed}).rademacher", formula=_SOURCE, causes=causes
        )
        whole = host.integers(0, 5, (6,), dtype=np.int64)
        expect_close(setting, rng.integers(5, (6,)), whole, f"rng({seed}).integers", formula=_SOURCE, causes=causes)
        expect_close(setting, rng.permutation(6), host.permutation(6), f"rng({seed}).permutation", formula=_SOURCE, causes=causes)


@check("backend", "random", capability="arrays", source="numpy.random.SeedSequence.spawn")
def seeds_and_splits(setting: Setting) -> None:
    """The same seed repeats itself, other seeds and the children of a split differ, and splits repeat themselves too."""
    be = setting.backend

    def draw(seed: int) -> np.ndarray:
        return setting.numpy(be.rng(seed).normal((8,), dtype=setting.dtype))

    expect(np.array_equal(draw(3), draw(3)), "rng(3).normal, twice", "two results", formula="one", causes="global random state")
    expect(
        not np.array_equal(draw(3), draw(4)),
        "rng(3) and rng(4)",
        "the same draws",
        formula="different ones",
        causes="the seed is ignored",
    )
    first, second = be.rng(3).split(2), be.rng(3).split(2)
    children = [setting.numpy(child.normal((8,), dtype=setting.dtype)) for child in (*first, *second)]
    expect(not np.array_equal(children[0], children[1]), "children of a split", "the same draws", formula="independent ones")
    same = np.array_equal(children[0], children[2]) and np.array_equal(children[1], children[3])
    expect(same, "split of one seed, twice", "two results", formula="the same children")
