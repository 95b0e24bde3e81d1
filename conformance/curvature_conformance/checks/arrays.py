"""Arrays: namespace, ownership, the way to the host and back, dtype and device."""

from __future__ import annotations

import numpy as np

import curvature as cv

from ..checklist import CONTRACT, check
from ..failures import expect, expect_close
from ..setting import Setting


@check("backend", "arrays", capability="arrays", source=CONTRACT)
def namespace_and_ownership(setting: Setting) -> None:
    """The backend owns its own arrays and nothing else, and ``curvature.namespace`` of them is its namespace."""
    be, x = setting.backend, setting.asarray(np.arange(3.0))
    expect(be.owns(x), "owns(asarray(...))", "False", formula="True: the array was made by this backend")
    expect(cv.namespace(x) is be.xp, "curvature.namespace(x)", repr(cv.namespace(x)), formula=f"the backend's xp, {be.xp!r}")
    for stranger in (object(), 1.0, [1.0], "text", None):
        expect(
            not be.owns(stranger),
            f"owns({stranger!r})",
            "True",
            formula="False: it is no array of this library",
            causes="a predicate that answers True to everything takes the arrays of all other backends",
        )


@check("backend", "arrays", capability="arrays", source=CONTRACT)
def round_trip_through_the_host(setting: Setting) -> None:
    """asarray followed by to_numpy gives back values, shape and dtype, for floats, integers, booleans, lists and numbers."""
    be, rng = setting.backend, np.random.default_rng(1)
    samples = {
        "a matrix": rng.standard_normal((3, 4)).astype(setting.dtype),
        "a transposed matrix": rng.standard_normal((3, 4)).astype(setting.dtype).T,
        "every other element": rng.standard_normal(8).astype(setting.dtype)[::2],
        "no elements": np.zeros((0, 3), dtype=setting.dtype),
        "a 0-d array": np.asarray(1.5, dtype=setting.dtype),
        "integers": np.arange(-3, 4, dtype=np.int64),
        "booleans": np.array([True, False]),
    }
    for label, values in samples.items():
        kept = values.copy()
        back = be.to_numpy(be.asarray(values))
        same = isinstance(back, np.ndarray) and back.shape == kept.shape and np.array_equal(back, kept)
        expect(same, f"to_numpy(asarray({label}))", repr(back), formula=f"{kept!r}")
        floating = kept.dtype.kind == "f" and be.dtype is not None
        allowed = [np.dtype(be.dtype) if floating else kept.dtype]
        if kept.dtype == np.int64 and not be.capabilities["float64"].supported:
            allowed.append(np.dtype(np.int32))  # a library without float64 may have no int64 either: JAX without x64
        expect(
            back.dtype in allowed,
            f"dtype of to_numpy(asarray({label}))",
            str(back.dtype),
            formula=" or ".join(map(str, allowed)),
            causes="a float64 array that is quietly narrowed to the library's default float32",
        )
        expect(np.array_equal(values, kept), f"asarray({label})", "changed its argument", formula="arguments stay as they are")
    made = be.asarray([[1, 2], [3, 4]], dtype=setting.dtype)
    expect_close(setting, made, [[1.0, 2.0], [3.0, 4.0]], "asarray of a nested list with dtype=", formula="its values")


@check("backend", "arrays", capability="arrays", source=CONTRACT)
def dtype_and_device_by_name(setting: Setting) -> None:
    """asarray(dtype=name) gives that dtype, and asarray of an array keeps what it is and where it is."""
    be = setting.backend
    for name in ("float32", "float64"):
        claim = be.capabilities.get("float64")
        if name == "float64" and claim is not None and not claim.supported:
            continue
        x = be.asarray(np.arange(3.0), dtype=name)
        expect(x.dtype == getattr(be.xp, name), f"asarray(x, dtype={name!r}).dtype", str(x.dtype), formula=name)
    x = setting.asarray(np.arange(3.0))
    setting.require_own(be.asarray(x, dtype=setting.dtype), "asarray of an array of the backend")
    setting.require_own(x * 2 + 1, "x * 2 + 1 of an array of the setting's dtype")


@check("backend", "arrays", capability="float64", source="IEEE 754: binary64 has 53 significant bits")
def double_precision(setting: Setting) -> None:
    """float64 means 53 bits: 1 + 2⁻⁵² differs from 1 on the backend."""
    x = setting.backend.asarray(np.array([1.0 + 2.0**-52, 1.0]), dtype="float64")
    found = setting.backend.to_numpy(x[0] - x[1])
    expect(
        float(found) == 2.0**-52,
        "(1 + 2⁻⁵²) - 1 in float64",
        repr(float(found)),
        formula="2.22e-16",
        causes="float64 requests that are quietly narrowed to float32",
    )


@check("backend", "arrays", capability="arrays", source=CONTRACT)
def devices_and_identity(setting: Setting) -> None:
    """A backend lists at least one device, is equal to itself, and has a repr that names it."""
    be = setting.backend
    expect(len(list(be.devices())) > 0, "devices()", "no devices", formula="at least the one where arrays are")
    expect(be == be and hash(be) == hash(be), "be == be", "False", formula="backends compare by name, device and dtype")
    expect(be.name in repr(be), "repr(be)", repr(be), formula=f"text that contains the name {be.name!r}")
    memory = be.memory()
    expect(memory is None or memory >= 0, "memory()", repr(memory), formula="bytes, or None where the library does not say")
    be.synchronize()
