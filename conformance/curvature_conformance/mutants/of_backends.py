"""Defects of a backend, planted into a subclass of a sound one."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import curvature as cv
from curvature.backend import CAPABILITIES

from ..setting import map_tree
from .mutant import IMMUTABLE, Mutant

Members = dict[str, Any]


def planted(members: Callable[[type[cv.Backend]], Members]) -> Callable[[cv.Backend], cv.Backend]:
    """The backend with some members of its class replaced."""

    def make(sound: cv.Backend) -> cv.Backend:
        kind = type(sound)
        planted_members = members(kind)
        made: cv.Backend = type("Mutant", (kind,), planted_members)(**_options(sound))
        for name in planted_members:
            made.__dict__.pop(name, None)  # what the constructor sets would hide it
        return made

    return make


def _options(sound: cv.Backend) -> dict[str, Any]:
    return {} if sound.dtype is None else {"dtype": sound.dtype}


def scaled(tree: Any, factor: float) -> Any:
    """Every array of a tree times a factor."""
    return map_tree(lambda leaf: factor * leaf, tree)


# Derivatives ------------------------------------------------------------------------------------------


def pull_scaled(member: str, factor: float) -> Callable[[type], Members]:
    """A member that returns (…, pull), with its pull scaled."""

    def members(kind: type) -> Members:
        def mutated(self: Any, *args: Any) -> Any:
            *rest, pull = getattr(kind, member)(self, *args)
            return (*rest, lambda u: scaled(pull(u), factor))

        return {member: mutated}

    return members


def result_scaled(member: str, factor: float) -> Callable[[type], Members]:
    """A member that returns (value, derivative), or the derivative alone, with the derivative scaled."""

    def members(kind: type) -> Members:
        def mutated(self: Any, *args: Any) -> Any:
            found = getattr(kind, member)(self, *args)
            return (found[0], scaled(found[1], factor)) if isinstance(found, tuple) else scaled(found, factor)

        return {member: mutated}

    return members


def stale_push(kind: type) -> Members:
    def linearize(self: Any, f: Any, params: Any) -> Any:
        value, push, pull = kind.linearize(self, f, params)  # type: ignore[attr-defined]
        kept: list[Any] = []

        def first_only(v: Any) -> Any:
            kept.append(push(v))
            return kept[0]

        return value, first_only, pull

    return {"linearize": linearize}


def forgets_a_parameter(kind: type) -> Members:
    """The tangent of the first parameter is taken for zero."""

    def jvp(self: Any, f: Any, params: Any, tangent: Any) -> Any:
        first = next(iter(tangent))
        without = {**tangent, first: 0 * tangent[first]} if isinstance(tangent, dict) else tangent
        return kind.jvp(self, f, params, without)  # type: ignore[attr-defined]

    return {"jvp": jvp}


def hvp_of_the_square(kind: type) -> Members:
    def hvp(self: Any, f: Any, params: Any, tangent: Any) -> Any:
        return kind.hvp(self, lambda p: f(p) * f(p), params, tangent)  # type: ignore[attr-defined]

    return {"hvp": hvp}


def hvp_without_a_graph(kind: type) -> Members:
    """A Hessian product by differences: right to seven digits, and not to be differentiated again."""

    def hvp(self: Any, f: Any, params: Any, tangent: Any) -> Any:
        def moved(step: float) -> Any:
            return _zip(lambda p, t: p + step * t, params, tangent)

        ends = [kind.value_and_gradient(self, f, moved(step))[1] for step in (1e-4, -1e-4)]  # type: ignore[attr-defined]
        return _zip(lambda a, b: (a - b) / 2e-4, *ends)

    return {"hvp": hvp}


def _zip(function: Any, one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {key: _zip(function, one[key], other[key]) for key in one}
    if isinstance(one, (list, tuple)):
        return type(one)(_zip(function, a, b) for a, b in zip(one, other, strict=True))
    return function(one, other)


def writes_into_its_cotangent(kind: type) -> Members:
    def vjp(self: Any, f: Any, params: Any) -> Any:
        value, pull = kind.vjp(self, f, params)  # type: ignore[attr-defined]

        def writing(u: Any) -> Any:
            u *= 1.5
            return pull(u / 1.5)

        return value, writing

    return {"vjp": vjp}


def writes_into_parameters(kind: type) -> Members:
    def value_and_gradient(self: Any, f: Any, params: Any) -> Any:
        found = kind.value_and_gradient(self, f, params)  # type: ignore[attr-defined]

        def write(leaf: Any) -> Any:
            leaf *= 1.0 + 1e-6
            return leaf

        map_tree(write, params)
        return found

    return {"value_and_gradient": value_and_gradient}


def in_axes_ignored(kind: type) -> Members:
    return {"vmap": lambda self, f, in_axes=0: kind.vmap(self, f, 0)}  # type: ignore[attr-defined]


def stacked_in_reverse(kind: type) -> Members:
    def vmap(self: Any, f: Any, in_axes: Any = 0) -> Any:
        return lambda *args: cv.namespace(args[0]).flip(kind.vmap(self, f, in_axes)(*args), axis=0)  # type: ignore[attr-defined]

    return {"vmap": vmap}


def compiles_in_single_precision(kind: type) -> Members:
    def jit(self: Any, f: Any) -> Any:
        compiled = kind.jit(self, f)  # type: ignore[attr-defined]

        def rounded(leaf: Any) -> Any:
            xp = cv.namespace(leaf)
            return xp.astype(xp.astype(leaf, xp.float32), leaf.dtype)

        return lambda *args: map_tree(rounded, compiled(*args))

    return {"jit": jit}


# Arrays -----------------------------------------------------------------------------------------------


def asarray_then(change: Callable[[Any, Any], Any]) -> Callable[[type], Members]:
    """``asarray`` whose float64 results are changed by ``change(xp, y)``."""

    def members(kind: type) -> Members:
        def asarray(self: Any, x: Any, dtype: Any = None, device: Any = None) -> Any:
            y = kind.asarray(self, x, dtype, device)  # type: ignore[attr-defined]
            return change(self.xp, y) if y.dtype == self.xp.float64 else y

        return {"asarray": asarray}

    return members


def narrowed(xp: Any, y: Any) -> Any:
    return xp.astype(y, xp.float32)


def rounded(xp: Any, y: Any) -> Any:
    return xp.astype(xp.astype(y, xp.float32), xp.float64)


def dtype_ignored(kind: type) -> Members:
    return {"asarray": lambda self, x, dtype=None, device=None: kind.asarray(self, x, None, device)}  # type: ignore[attr-defined]


def to_numpy_rounds(kind: type) -> Members:
    return {"to_numpy": lambda self, x: np.asarray(kind.to_numpy(self, x), dtype=np.float32)}  # type: ignore[attr-defined]


def complex_numbers(kind: type) -> Members:
    """A conjugate where a transpose is meant makes complex numbers out of real ones."""
    return {"to_numpy": lambda self, x: np.conj(np.asarray(kind.to_numpy(self, x)).astype(complex))}  # type: ignore[attr-defined]


def aliases(kind: type) -> Members:
    """``to_numpy`` that hands out transposed memory."""
    return {"to_numpy": lambda self, x: np.asarray(kind.to_numpy(self, x)).T}  # type: ignore[attr-defined]


# Linear algebra ---------------------------------------------------------------------------------------


def cholesky_then(change: Callable[[Any, Any], Any]) -> Callable[[type], Members]:
    """``cholesky`` whose answer (L, ok) is changed by ``change(xp, (L, ok))``."""

    def members(kind: type) -> Members:
        return {"cholesky": lambda self, a: change(self.xp, kind.cholesky(self, a))}  # type: ignore[attr-defined]

    return members


def triangle_then(change: Callable[[Any, Any], Any]) -> Callable[[type], Members]:
    """``triangle`` whose R is changed by ``change(xp, R)``."""

    def members(kind: type) -> Members:
        return {"triangle": lambda self, a: change(self.xp, kind.triangle(self, a))}  # type: ignore[attr-defined]

    return members


def inverse_by_factor_then(change: Callable[[Any, Any, Any], Any]) -> Callable[[type], Members]:
    """``inverse_by_factor`` whose answer is changed by ``change(backend, L, answer)``."""

    def members(kind: type) -> Members:
        def inverse_by_factor(self: Any, lower: Any) -> Any:
            return change(self, lower, kind.inverse_by_factor(self, lower))  # type: ignore[attr-defined]

        return {"inverse_by_factor": inverse_by_factor}

    return members


def cholesky_in_place(kind: type) -> Members:
    def cholesky(self: Any, a: Any) -> Any:
        lower, ok = kind.cholesky(self, a)  # type: ignore[attr-defined]
        a[...] = lower
        return lower, ok

    return {"cholesky": cholesky}


def reads_one_triangle(kind: type) -> Members:
    def cholesky(self: Any, a: Any) -> Any:
        host = self.to_numpy(a)
        try:
            return self.asarray(np.linalg.cholesky(host)), True
        except np.linalg.LinAlgError:
            return self.asarray(np.zeros_like(host)), False

    return {"cholesky": cholesky}


def eigh_then(change: Callable[[Any, Any, Any], Any]) -> Callable[[type], Members]:
    """``eigh`` whose answer is changed by ``change(xp, values, vectors)``."""

    def members(kind: type) -> Members:
        return {"eigh": lambda self, a: change(self.xp, *kind.eigh(self, a))}  # type: ignore[attr-defined]

    return members


def transposed_ignored(kind: type) -> Members:
    def solve_triangular(self: Any, a: Any, b: Any, *, lower: bool = True, transposed: bool = False) -> Any:
        return kind.solve_triangular(self, a, b, lower=lower)  # type: ignore[attr-defined]

    return {"solve_triangular": solve_triangular}


def both_triangles(kind: type) -> Members:
    def solve_triangular(self: Any, a: Any, b: Any, *, lower: bool = True, transposed: bool = False) -> Any:
        host = self.to_numpy(a)
        return self.asarray(np.linalg.solve(host.T if transposed else host, self.to_numpy(b)))

    return {"solve_triangular": solve_triangular}


def changes_error_handling(kind: type) -> Members:
    def eigh(self: Any, a: Any) -> Any:
        np.seterr(divide="raise")
        return kind.eigh(self, a)  # type: ignore[attr-defined]

    return {"eigh": eigh}


@contextmanager
def errors_restored() -> Iterator[None]:
    before = np.geterr()
    try:
        yield
    finally:
        np.seterr(**before)


# Random numbers ---------------------------------------------------------------------------------------


def rng_of(seed: Callable[[Any], int]) -> Callable[[type], Members]:
    return lambda kind: {"rng": lambda self, given: kind.rng(self, seed(given))}  # type: ignore[attr-defined]


class OneChild:
    """A generator whose children are all the same."""

    def __init__(self, rng: Any, child: Callable[[], Any]) -> None:
        self._rng, self._child = rng, child

    def split(self, n: int) -> list[Any]:
        return [self._child() for _ in range(n)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rng, name)


def same_children(kind: type) -> Members:
    return {"rng": lambda self, seed: OneChild(kind.rng(self, seed), lambda: kind.rng(self, 0))}  # type: ignore[attr-defined]


# Uses of parameters -----------------------------------------------------------------------------------


class Uses(cv.ParameterUses):
    """Uses of parameters, tampered with."""

    def __init__(self, uses: cv.ParameterUses, **members: Any) -> None:
        self._uses = uses
        kept = {name: getattr(uses, name) for name in ("outputs", "uses", "unrecognised", "unused")}
        self.__dict__.update(kept | members)

    def cotangents(self, seeds: Any) -> Any:
        return self._uses.cotangents(seeds)

    def pull(self, seed: Any) -> Any:
        return self._uses.pull(seed)

    def pull_both(self, seed: Any) -> Any:
        return self._uses.pull_both(seed)


class OneColumn(Uses):
    """The cotangents of the first seed for all of them."""

    def cotangents(self, seeds: Any) -> Any:
        found = super().cotangents(seeds)
        return [cv.namespace(g).broadcast_to(g[:1, ...], tuple(g.shape)) for g in found]


class CountedTwice(Uses):
    """Every use counts twice, as where it is recorded in the forward and in the backward pass."""

    def cotangents(self, seeds: Any) -> Any:
        return [2.0 * g for g in super().cotangents(seeds)]

    def pull_both(self, seed: Any) -> Any:
        tree, cotangents = super().pull_both(seed)
        return tree, [2.0 * g for g in cotangents]


class NegativePull(Uses):
    """The gradient of the loss where that of the log-likelihood is meant."""

    def pull(self, seed: Any) -> Any:
        return scaled(self._uses.pull(seed), -1.0)


def uses_by(kind_of_uses: Callable[[cv.ParameterUses], cv.ParameterUses]) -> Callable[[type], Members]:
    def members(kind: type) -> Members:
        return {"parameter_uses": lambda self, f, params, x: kind_of_uses(kind.parameter_uses(self, f, params, x))}  # type: ignore[attr-defined]

    return members


# Claims -----------------------------------------------------------------------------------------------

NOT_WRITTEN = cv.Claim(cv.Support.NOT_IMPLEMENTED, "not written yet")


def claiming(capability: str, claim: cv.Claim | None, **members: Any) -> Callable[[type], Members]:
    """Another claim (or none) about one capability."""

    def made(kind: type) -> Members:
        claims = {name: cv.Claim(cv.Support.NATIVE) for name in CAPABILITIES}
        del claims[capability]
        return {"capabilities": claims if claim is None else claims | {capability: claim}, **members}

    return made


def refuses(self: Any, *args: Any, **options: Any) -> Any:
    raise cv.UnsupportedError("not here")


_SHADOW = """
import sys
from importlib.util import find_spec
from pathlib import Path

import tensorflow

here, shadow = str(Path(__file__).parent.parent), sys.modules.pop(__name__)
sys.path.remove(here)
found = find_spec(__name__)
sys.path.insert(0, here)
sys.modules[__name__] = shadow
__path__ = list(found.submodule_search_locations)
__file__ = found.origin
exec(compile(Path(__file__).read_text(encoding="utf-8"), __file__, "exec"))
"""


@contextmanager
def a_heavy_plugin() -> Iterator[None]:
    """The library's plugins with an import of a framework at their heads, on the path of every process that is started."""
    before = os.environ.get("PYTHONPATH")
    with tempfile.TemporaryDirectory() as name:
        for plugin in {entry.value for entry in metadata.entry_points(group="curvature") if entry.value.startswith("curvature_")}:
            (Path(name) / plugin).mkdir()
            (Path(name) / plugin / "__init__.py").write_text(_SHADOW, encoding="utf-8")
        (Path(name) / "tensorflow.py").write_text("", encoding="utf-8")
        os.environ["PYTHONPATH"] = os.pathsep.join([name, *(entry for entry in sys.path if entry)])
        try:
            yield
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before


def _mutant(
    name: str,
    members: Callable[[type], Members],
    check: str,
    *words: str,
    scenario: str = "",
    impossible: Mapping[str, str] = {},
    within: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Mutant:
    return Mutant(name, "backend", planted(members), check, scenario, words, impossible, within)


_REFERENCE = "tanh-network/categorical"

MUTANTS = (
    _mutant("the sign of vjp", pull_scaled("vjp", -1.0), "derivatives/vjp-is-the-transposed-jacobian", "sign is wrong"),
    _mutant("a factor 2 in jvp", result_scaled("jvp", 2.0), "derivatives/jvp-is-the-jacobian", "it is 2 times", "Jv of jvp"),
    _mutant("a parameter whose tangent is dropped", forgets_a_parameter, "derivatives/jvp-is-the-jacobian", "tangent is dropped"),
    _mutant(
        "push and pull of different scale",
        pull_scaled("linearize", 0.5),
        "derivatives/push-and-pull-are-adjoint",
        "⟨u, Jv⟩ by linearize",
    ),
    _mutant("a push that is cached", stale_push, "derivatives/linearize-can-be-applied-again", "push(-2.0 v)", "cached"),
    _mutant("jvp_and_pull times N", pull_scaled("jvp_and_pull", 4.0), "derivatives/jvp-and-pull-agree", "it is N = 4 times"),
    _mutant(
        "the sign of jvp_and_pull",
        pull_scaled("jvp_and_pull", -1.0),
        "problem/one-pass-gives-both-maps",
        "jvp_and_pull, Jᵀ u",
        "sign is wrong",
        scenario=_REFERENCE,
    ),
    _mutant("hvp of another function", hvp_of_the_square, "derivatives/hessian-vector-product", "of another function"),
    _mutant("hvp by differences", hvp_without_a_graph, "derivatives/hessian-vector-product", "∇²φ u of hvp"),
    _mutant(
        "minus the gradient",
        result_scaled("value_and_gradient", -1.0),
        "derivatives/value-and-gradient-of-a-number",
        "sign is wrong",
        "∇φ",
    ),
    _mutant(
        "half of the gradient",
        result_scaled("value_and_gradient", 0.5),
        "problem/loss-and-gradient",
        "it is 0.5 times",
        scenario=_REFERENCE,
    ),
    _mutant("a factor 2 in hvp", result_scaled("hvp", 2.0), "matrices/hessian", "it is 2 times", scenario=_REFERENCE),
    _mutant(
        "vjp writes into its cotangent",
        writes_into_its_cotangent,
        "derivatives/derivatives-change-nothing",
        "in-place",
        impossible=IMMUTABLE,
    ),
    _mutant(
        "gradients write into the parameters",
        writes_into_parameters,
        "problem/problems-change-nothing",
        "afterwards",
        "in-place",
        scenario=_REFERENCE,
        impossible=IMMUTABLE,
    ),
    _mutant("vmap ignores in_axes", in_axes_ignored, "derivatives/vmap-maps-over-the-first-axis", "was raised"),
    _mutant("vmap stacks in reverse", stacked_in_reverse, "derivatives/vmap-maps-over-the-first-axis", "vmap(f, in_axes"),
    _mutant("jit in single precision", compiles_in_single_precision, "derivatives/jit-changes-no-value", "single precision"),
    _mutant(
        "programs in single precision",
        compiles_in_single_precision,
        "matrices/compiling-changes-no-value",
        "inside jit",
        "single precision",
        scenario=_REFERENCE,
    ),
    _mutant("float64 narrowed to float32", asarray_then(narrowed), "arrays/dtype-and-device-by-name", "dtype", "float32"),
    _mutant("float64 rounded to single precision", asarray_then(rounded), "arrays/double-precision", "narrowed"),
    _mutant("dtype= ignored", dtype_ignored, "arrays/dtype-and-device-by-name", "asarray(x, dtype='float32').dtype"),
    _mutant(
        "owns everything",
        lambda kind: {"owns": lambda self, x: True},
        "arrays/namespace-and-ownership",
        "owns(",
        "all other backends",
    ),
    _mutant("to_numpy rounds", to_numpy_rounds, "arrays/round-trip-through-the-host", "float32"),
    _mutant("a complex conjugate", complex_numbers, "arrays/round-trip-through-the-host", "complex128"),
    _mutant("to_numpy transposes", aliases, "arrays/round-trip-through-the-host", "to_numpy(asarray(a matrix))"),
    _mutant("no devices", lambda kind: {"devices": lambda self: []}, "arrays/devices-and-identity", "no devices"),
    _mutant(
        "cholesky in place",
        cholesky_in_place,
        "linear-algebra/cholesky-of-a-positive-definite-matrix",
        "A after cholesky",
        "in-place",
        impossible=IMMUTABLE,
    ),
    _mutant("cholesky reads one triangle", reads_one_triangle, "linear-algebra/cholesky-symmetrises", "lower triangle"),
    _mutant(
        "cholesky is always ok",
        cholesky_then(lambda xp, found: (found[0], True)),
        "linear-algebra/cholesky-without-a-factor",
        "indefinite",
        "False",
    ),
    _mutant(
        "the inverse of LᵀL rather than of L Lᵀ",
        inverse_by_factor_then(lambda be, lower, found: be.asarray(np.linalg.inv((host := be.to_numpy(lower)).T @ host))),
        "linear-algebra/inverse-by-a-factor",
        "LᵀL",
    ),
    _mutant(
        "one triangle of the inverse",
        inverse_by_factor_then(lambda be, lower, found: be.xp.tril(found)),
        "linear-algebra/inverse-by-a-factor",
        "one triangle only",
    ),
    _mutant(
        "the inverse by two triangular solutions",
        inverse_by_factor_then(lambda be, lower, found: found * (1 + be.xp.tril(be.xp.ones_like(found)) * 1e-12)),
        "linear-algebra/inverse-by-a-factor",
        "symmetry",
    ),
    _mutant(
        "the triangle is L rather than R",
        triangle_then(lambda xp, r: xp.matrix_transpose(r)),
        "linear-algebra/triangle-of-a-decomposition",
        "below the diagonal",
    ),
    _mutant(
        "the triangle with a row too many",
        triangle_then(lambda xp, r: xp.concat([r, r[:1, :] * 0.0], axis=0)),
        "linear-algebra/triangle-of-a-decomposition",
        "complete decomposition",
    ),
    _mutant(
        "the triangle scaled by its size",
        triangle_then(lambda xp, r: r / r.shape[0] ** 0.5),
        "linear-algebra/triangle-of-a-decomposition",
        "RᵀR",
    ),
    _mutant(
        "the upper factor",
        cholesky_then(lambda xp, found: (xp.matrix_transpose(found[0]), found[1])),
        "linear-algebra/cholesky-of-a-positive-definite-matrix",
        "it is the transpose",
    ),
    _mutant(
        "eigenvalues descending",
        eigh_then(lambda xp, values, vectors: (xp.flip(values), xp.flip(vectors, axis=1))),
        "linear-algebra/eigenvalues-and-eigenvectors",
        "ascending",
    ),
    _mutant(
        "eigenvectors as rows",
        eigh_then(lambda xp, values, vectors: (values, xp.matrix_transpose(vectors))),
        "linear-algebra/eigenvalues-and-eigenvectors",
        "eigenvectors as rows",
    ),
    _mutant(
        "eigenvectors that are not unit vectors",
        eigh_then(lambda xp, values, vectors: (values, 1.1 * vectors)),
        "linear-algebra/eigenvalues-and-eigenvectors",
        "orthonormal",
    ),
    _mutant("transposed= ignored", transposed_ignored, "linear-algebra/triangular-solves", "transposed=True"),
    _mutant("both triangles read", both_triangles, "linear-algebra/triangular-solves", "other triangle"),
    _mutant("another seed", rng_of(lambda seed: seed + 1), "random/the-draws-are-those-of-the-seed", "rng(0).normal", "Philox"),
    _mutant("one seed for all", rng_of(lambda seed: 0), "random/seeds-and-splits", "rng(3) and rng(4)", "seed is ignored"),
    _mutant(
        "no seed at all",
        rng_of(lambda seed: int.from_bytes(os.urandom(4), "big")),
        "random/seeds-and-splits",
        "rng(3).normal, twice",
    ),
    _mutant("one seed reused by the children", same_children, "random/seeds-and-splits", "children of a split", "the same draws"),
    _mutant(
        "one column of cotangents for all",
        uses_by(OneColumn),
        "parameter-uses/inputs-and-cotangents-make-up-the-gradient",
        "seed 1",
    ),
    _mutant(
        "a use counted twice", uses_by(CountedTwice), "parameter-uses/inputs-and-cotangents-make-up-the-gradient", "it is 2 times"
    ),
    _mutant("the sign of a recorded pull", uses_by(NegativePull), "parameter-uses/pull-is-the-gradient", "sign is wrong"),
    _mutant(
        "unused parameters not named",
        uses_by(lambda uses: Uses(uses, unused=())),
        "parameter-uses/outputs-and-unused-parameters",
        "unused",
    ),
    _mutant(
        "a use left out",
        uses_by(lambda uses: Uses(uses, unrecognised={})),
        "parameter-uses/outputs-and-unused-parameters",
        "enters through an exponential",
    ),
    _mutant(
        "global state changed",
        changes_error_handling,
        "claims/global-state-stays-as-it-is",
        "numpy.geterr()",
        "flag",
        within=errors_restored,
    ),
    _mutant("no claim about a capability", claiming("jit", None), "claims/every-capability-has-a-claim", "capabilities['jit']"),
    _mutant(
        "a stale claim that vmap is missing",
        claiming("vmap", NOT_WRITTEN),
        "derivatives/vmap-maps-over-the-first-axis",
        "stale claim",
        "'vmap'",
    ),
    _mutant(
        "a claim that is not kept", lambda kind: {"hvp": refuses}, "derivatives/hessian-vector-product", "claims to have 'hvp'"
    ),
    _mutant(
        "an exception swallowed into None",
        lambda kind: {"hvp": lambda self, *args: None},
        "derivatives/third-derivative",
        "was raised",
    ),
    _mutant(
        "missing, but with the wrong error",
        claiming("vmap", NOT_WRITTEN, vmap=None),
        "derivatives/vmap-maps-over-the-first-axis",
        "UnsupportedError was expected",
        "TypeError",
    ),
    Mutant(
        "a plugin that imports its framework",
        "backend",
        lambda sound: sound.name,
        "claims/registering-imports-no-framework",
        "",
        ("tensorflow imported", "head of the plugin's module"),
        {},
        a_heavy_plugin,
    ),
)
