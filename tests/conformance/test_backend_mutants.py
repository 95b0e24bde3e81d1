"""Planted defects of a backend: each is caught, by a message that names it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import curvature as cv
from curvature.backend import CAPABILITIES
from curvature_conformance import issues

Numpy = type(cv.backend("numpy"))


def mutant(**members: Any) -> cv.Backend:
    """NumPy with members replaced."""
    return type("Mutant", (Numpy,), members)()


def scaled_tree(tree: Any, factor: float) -> Any:
    return {key: factor * leaf for key, leaf in tree.items()} if isinstance(tree, dict) else factor * tree


def scaled_pull(member: str, factor: float) -> Any:
    """Like the member of NumPy's backend, with its pull scaled."""

    def replaced(self: Any, *args: Any) -> Any:
        *rest, pull = getattr(Numpy, member)(self, *args)
        return (*rest, lambda u: scaled_tree(pull(u), factor))

    return replaced


def doubled_jvp(self: Any, f: Any, params: Any, tangent: Any) -> Any:
    value, pushed = Numpy.jvp(self, f, params, tangent)
    return value, scaled_tree(pushed, 2.0)


def stale_push(self: Any, f: Any, params: Any) -> Any:
    value, push, pull = Numpy.linearize(self, f, params)
    kept: list[Any] = []

    def first_only(v: Any) -> Any:
        kept.append(push(v))
        return kept[0]

    return value, first_only, pull


def hvp_of_the_square(self: Any, f: Any, params: Any, tangent: Any) -> Any:
    return Numpy.hvp(self, lambda p: f(p) * f(p), params, tangent)


def negative_gradient(self: Any, f: Any, params: Any) -> Any:
    value, gradient = Numpy.value_and_gradient(self, f, params)
    return value, scaled_tree(gradient, -1.0)


def narrowing_asarray(self: Any, x: Any, dtype: Any = None, device: Any = None) -> Any:
    y = Numpy.asarray(self, x, dtype, device)
    return y.astype(np.float32) if y.dtype == np.float64 else y


def rounding_asarray(self: Any, x: Any, dtype: Any = None, device: Any = None) -> Any:
    y = Numpy.asarray(self, x, dtype, device)
    return y.astype(np.float32).astype(np.float64) if y.dtype == np.float64 else y


def in_place_cholesky(self: Any, a: Any) -> Any:
    lower, ok = Numpy.cholesky(self, a)
    a[...] = lower
    return lower, ok


def in_place_vjp(self: Any, f: Any, params: Any) -> Any:
    value, pull = Numpy.vjp(self, f, params)

    def writing(u: Any) -> Any:
        u *= 1.5
        return pull(u / 1.5)

    return value, writing


def unread_triangle(self: Any, a: Any) -> Any:
    try:
        return np.linalg.cholesky(a), True
    except np.linalg.LinAlgError:
        return np.zeros_like(a), False


def always_ok(self: Any, a: Any) -> Any:
    return Numpy.cholesky(self, a)[0], True


def upper_cholesky(self: Any, a: Any) -> Any:
    lower, ok = Numpy.cholesky(self, a)
    return lower.T, ok


def descending_eigh(self: Any, a: Any) -> Any:
    values, vectors = Numpy.eigh(self, a)
    return values[::-1], vectors[:, ::-1]


def vectors_as_rows(self: Any, a: Any) -> Any:
    values, vectors = Numpy.eigh(self, a)
    return values, vectors.T


def long_vectors(self: Any, a: Any) -> Any:
    values, vectors = Numpy.eigh(self, a)
    return values, 1.1 * vectors


def transposed_ignored(self: Any, a: Any, b: Any, *, lower: bool = True, transposed: bool = False) -> Any:
    return Numpy.solve_triangular(self, a, b, lower=lower)


def both_triangles(self: Any, a: Any, b: Any, *, lower: bool = True, transposed: bool = False) -> Any:
    return np.linalg.solve(a.T if transposed else a, b)


def seed_ignored(self: Any, seed: Any) -> cv.Rng:
    return Numpy.rng(self, 0)


def unseeded(self: Any, seed: Any) -> cv.Rng:
    return Numpy.rng(self, int.from_bytes(os.urandom(4), "big"))


def in_axes_ignored(self: Any, f: Any, in_axes: Any = 0) -> Any:
    return Numpy.vmap(self, f, 0)


def reversed_vmap(self: Any, f: Any, in_axes: Any = 0) -> Any:
    return lambda *args: Numpy.vmap(self, f, in_axes)(*args)[::-1]


def scaled_pull_of_any_tree(self: Any, f: Any, params: Any, tangent: Any) -> Any:
    value, pushed, pull = Numpy.jvp_and_pull(self, f, params, tangent)
    return value, pushed, lambda u: pull(-u)


class Uses(cv.ParameterUses):
    """Uses with one member replaced."""

    def __init__(self, uses: cv.ParameterUses, **members: Any) -> None:
        self._uses = uses
        self.__dict__.update(
            {"outputs": uses.outputs, "uses": uses.uses, "unrecognised": uses.unrecognised, "unused": uses.unused} | members
        )

    def cotangents(self, seeds: Any) -> Any:
        return self._uses.cotangents(seeds)

    def pull(self, seed: Any) -> Any:
        return self._uses.pull(seed)

    def pull_both(self, seed: Any) -> Any:
        return self._uses.pull_both(seed)


def one_column(self: Any, f: Any, params: Any, x: Any) -> Any:
    class OneColumn(Uses):
        def cotangents(self, seeds: Any) -> Any:
            return [np.repeat(g[:1], len(seeds), axis=0) for g in super().cotangents(seeds)]

    return OneColumn(Numpy.parameter_uses(self, f, params, x))


def use_counted_twice(self: Any, f: Any, params: Any, x: Any) -> Any:
    class Twice(Uses):
        def cotangents(self, seeds: Any) -> Any:
            return [2.0 * g for g in super().cotangents(seeds)]

        def pull_both(self, seed: Any) -> Any:
            tree, gs = super().pull_both(seed)
            return tree, [2.0 * g for g in gs]

    return Twice(Numpy.parameter_uses(self, f, params, x))


def unused_unsaid(self: Any, f: Any, params: Any, x: Any) -> Any:
    return Uses(Numpy.parameter_uses(self, f, params, x), unused=())


def changes_error_handling(self: Any, a: Any) -> Any:
    np.seterr(invalid="ignore", divide="raise")
    return Numpy.eigh(self, a)


def unclaimed(capability: str) -> dict[str, cv.Claim]:
    return dict(Numpy.capabilities) | {capability: cv.Claim(cv.Support.NOT_IMPLEMENTED, "not written yet")}


def raises_unsupported(self: Any, *args: Any, **options: Any) -> Any:
    raise cv.UnsupportedError("not here")


MUTANTS: dict[str, tuple[Callable[[], cv.Backend], str, tuple[str, ...]]] = {
    "the sign of vjp": (lambda: mutant(vjp=scaled_pull("vjp", -1.0)), "derivatives/vjp-*", ("sign is wrong",)),
    "a factor 2 in jvp": (lambda: mutant(jvp=doubled_jvp), "derivatives/jvp-is-*", ("it is 2 times", "Jv of jvp")),
    "push and pull of different scale": (
        lambda: mutant(linearize=scaled_pull("linearize", 0.5)),
        "derivatives/push-and-pull-*",
        ("⟨u, Jv⟩ by linearize",),
    ),
    "a push that is cached": (lambda: mutant(linearize=stale_push), "derivatives/linearize-*", ("push(-2.0 v)", "cached")),
    "a pull that is wrong in jvp_and_pull alone": (
        lambda: mutant(jvp_and_pull=scaled_pull("jvp_and_pull", 4.0)),
        "derivatives/jvp-and-*",
        ("it is N = 4 times",),
    ),
    "hvp of another function": (lambda: mutant(hvp=hvp_of_the_square), "derivatives/hessian-*", ("of another function",)),
    "the gradient of minus the function": (
        lambda: mutant(value_and_gradient=negative_gradient),
        "derivatives/value-*",
        ("sign is wrong", "∇φ"),
    ),
    "vjp writes into its cotangent": (lambda: mutant(vjp=in_place_vjp), "derivatives/derivatives-change-*", ("in-place",)),
    "vmap ignores in_axes": (lambda: mutant(vmap=in_axes_ignored), "derivatives/vmap-*", ("ShapeError",)),
    "vmap stacks in the wrong order": (lambda: mutant(vmap=reversed_vmap), "derivatives/vmap-*", ("vmap(f, in_axes",)),
    "float64 narrowed to float32": (lambda: mutant(asarray=narrowing_asarray), "arrays/*", ("dtype", "float32")),
    "float64 rounded to single precision": (lambda: mutant(asarray=rounding_asarray), "arrays/double-*", ("narrowed",)),
    "owns everything": (lambda: mutant(owns=lambda self, x: True), "arrays/namespace-*", ("owns(", "all other backends")),
    "to_numpy rounds": (
        lambda: mutant(to_numpy=lambda self, x: np.asarray(x, dtype=np.float32)),
        "arrays/round-trip-*",
        ("float32",),
    ),
    "cholesky in place": (lambda: mutant(cholesky=in_place_cholesky), "linear-algebra/*", ("A after cholesky", "in-place")),
    "cholesky that reads one triangle": (lambda: mutant(cholesky=unread_triangle), "linear-algebra/*", ("lower triangle",)),
    "cholesky that is always ok": (lambda: mutant(cholesky=always_ok), "linear-algebra/*", ("indefinite", "False")),
    "the upper factor": (lambda: mutant(cholesky=upper_cholesky), "linear-algebra/*", ("it is the transpose",)),
    "eigenvalues descending": (lambda: mutant(eigh=descending_eigh), "linear-algebra/eig*", ("ascending",)),
    "eigenvectors as rows": (lambda: mutant(eigh=vectors_as_rows), "linear-algebra/eig*", ("eigenvectors as rows",)),
    "eigenvectors that are not unit vectors": (lambda: mutant(eigh=long_vectors), "linear-algebra/eig*", ("orthonormal",)),
    "transposed ignored": (lambda: mutant(solve_triangular=transposed_ignored), "linear-algebra/tri*", ("transposed=True",)),
    "both triangles read": (lambda: mutant(solve_triangular=both_triangles), "linear-algebra/tri*", ("other triangle",)),
    "no devices": (lambda: mutant(devices=lambda self: []), "arrays/devices-*", ("no devices",)),
    "the seed ignored": (lambda: mutant(rng=seed_ignored), "random/*", ("rng(3) and rng(4)", "seed is ignored")),
    "no seed at all": (lambda: mutant(rng=unseeded), "random/*", ("rng(3).normal, twice", "two results")),
    "one column of cotangents for all": (lambda: mutant(parameter_uses=one_column), "parameter-uses/*", ("seed 1",)),
    "a use counted twice": (lambda: mutant(parameter_uses=use_counted_twice), "parameter-uses/*", ("it is 2 times",)),
    "unused parameters not named": (lambda: mutant(parameter_uses=unused_unsaid), "parameter-uses/*", ("unused",)),
    "global state changed": (lambda: mutant(eigh=changes_error_handling), "claims/global-*", ("numpy.geterr()", "flag")),
    "no claim about a capability": (
        lambda: mutant(capabilities={name: Numpy.capabilities[name] for name in CAPABILITIES if name != "jit"}),
        "claims/every-*",
        ("capabilities['jit']",),
    ),
    "a stale claim that vmap is missing": (
        lambda: mutant(capabilities=unclaimed("vmap")),
        "derivatives/vmap-*",
        ("stale claim", "'vmap'"),
    ),
    "a claim that is not kept": (
        lambda: mutant(hvp=raises_unsupported),
        "derivatives/hessian-*",
        ("claims to have 'hvp'", "UnsupportedError"),
    ),
    "missing, but with the wrong error": (
        lambda: mutant(capabilities=unclaimed("vmap"), vmap=None),
        "derivatives/vmap-*",
        ("UnsupportedError was expected", "TypeError"),
    ),
    "a pull of the wrong sign, in a matrix": (
        lambda: mutant(jvp_and_pull=scaled_pull_of_any_tree),
        "problem/one-pass-gives-both-maps",
        ("jvp_and_pull, Jᵀ u", "sign is wrong"),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str, caught: Any) -> None:
    make, check, words = MUTANTS[name]
    before = np.geterr()
    try:
        caught(make(), check, *words)
    finally:
        np.seterr(**before)


def test_a_missing_capability_that_is_declared_conforms() -> None:
    honest = mutant(capabilities=unclaimed("vmap"), vmap=raises_unsupported)
    assert issues(honest, only_checks="derivatives/*") == []
