"""How parameters enter a model: what the structured approximations rest on."""

from __future__ import annotations

from typing import Any

import numpy as np

import curvature as cv

from ..checklist import CONTRACT, check
from ..failures import expect, expect_close
from ..setting import Setting

_X = np.array([[0.2, -0.4, 0.7], [1.0, 0.3, -0.6], [-0.8, 0.5, 0.1], [0.4, 0.9, 0.2]])
_PARAMS = {
    "bias": np.array([0.1, -0.2]),
    "log": np.array([0.2, -0.1, 0.3]),
    "out": np.array([[0.6, -0.3], [0.9, 0.2], [-0.4, 0.8]]),
    "scale": np.array([1.1, 0.8, -0.5]),
    "unused": np.array([1.0]),
    "weight": np.array([[0.5, -0.3, 0.1], [0.2, 0.8, -0.6]]),
}
_SEEDS = np.random.default_rng(5).standard_normal((3, 4, 3))


def _network(params: Any, x: Any) -> Any:
    """A layer stored (d_out, d_in), tanh, a layer stored so as well and used without bias, a scale, and a scale by exp(log).

    The exponential is no way that could be recognised: it is not affine in the parameter.
    """
    xp = cv.namespace(x)
    hidden = xp.tanh(x @ xp.matrix_transpose(params["weight"]) + params["bias"])
    return (hidden @ xp.matrix_transpose(params["out"])) * params["scale"] * xp.exp(params["log"])


def _reference(seed: np.ndarray) -> dict[str, np.ndarray]:
    """Backpropagation by hand."""
    hidden = np.tanh(_X @ _PARAMS["weight"].T + _PARAMS["bias"])
    products = hidden @ _PARAMS["out"].T
    growth = np.exp(_PARAMS["log"])
    behind = seed * growth * _PARAMS["scale"]
    before = (behind @ _PARAMS["out"]) * (1 - hidden**2)
    return {
        "bias": before.sum(axis=0),
        "log": (seed * products * _PARAMS["scale"] * growth).sum(axis=0),
        "out": behind.T @ hidden,
        "scale": (seed * growth * products).sum(axis=0),
        "unused": np.zeros(1),
        "weight": before.T @ _X,
    }


def _uses(setting: Setting) -> cv.ParameterUses:
    return setting.backend.parameter_uses(_network, setting.tree(_PARAMS), setting.asarray(_X))


@check("backend", "parameter-uses", capability="parameter_uses", source=CONTRACT)
def outputs_and_unused_parameters(setting: Setting) -> None:
    """parameter_uses gives the outputs and names the parameters that do not enter."""
    uses = _uses(setting)
    hidden = np.tanh(_X @ _PARAMS["weight"].T + _PARAMS["bias"])
    expected = (hidden @ _PARAMS["out"].T) * _PARAMS["scale"] * np.exp(_PARAMS["log"])
    expect_close(setting, uses.outputs, expected, "outputs of parameter_uses", formula="f(params, x)")
    expect(tuple(uses.unused) == ("unused",), "unused", repr(uses.unused), formula="('unused',)")
    expect(
        "log" in uses.unrecognised,
        "unrecognised",
        repr(dict(uses.unrecognised)),
        formula="the parameter that enters through an exponential, with the reason",
    )
    known = {use.parameter for use in uses.uses} | {use.bias for use in uses.uses if use.bias}
    absent = set(_PARAMS) - known - set(uses.unrecognised) - set(uses.unused)
    expect(
        not absent,
        "parameters of which nothing is said",
        str(sorted(absent)),
        formula="none: each is used, unrecognised or unused",
    )


@check("backend", "parameter-uses", capability="parameter_uses", source="Rumelhart, Hinton and Williams 1986")
def pull_is_the_gradient(setting: Setting) -> None:
    """pull and pull_both give Jᵀu as backpropagation by hand does, again and again."""
    uses = _uses(setting)
    for seed in _SEEDS[:2]:
        expected = _reference(seed)
        u = setting.asarray(seed)
        for label, tree in (("pull", uses.pull(u)), ("pull_both", uses.pull_both(u)[0])):
            for name, values in expected.items():
                expect_close(setting, tree[name], values, f"{label}(u), parameter {name!r}", formula="backpropagation by hand")


@check("backend", "parameter-uses", capability="parameter_uses", source="Goodfellow 2015")
def inputs_and_cotangents_make_up_the_gradient(setting: Setting) -> None:
    """For each of R seeds at once, Σ_n g_n a_nᵀ over the uses of a parameter is its gradient, and Σ_n g_n its bias's."""
    uses = _uses(setting)
    cotangents = uses.cotangents(setting.asarray(_SEEDS))
    expect(
        len(cotangents) == len(uses.uses),
        "cotangents",
        f"{len(cotangents)} arrays",
        formula=f"one for each of {len(uses.uses)} uses",
    )
    both = uses.pull_both(setting.asarray(_SEEDS[0]))[1]
    for column, seed in enumerate(_SEEDS):
        found: dict[str, np.ndarray] = {}
        for use, g, alone in zip(uses.uses, cotangents, both, strict=True):
            values = setting.require_own(g, f"cotangents of {use.parameter!r}")
            expect(
                values.shape[0] == len(_SEEDS),
                f"cotangents of {use.parameter!r}",
                f"{values.shape[0]} columns",
                formula=f"R = {len(_SEEDS)}",
                causes="one column for all seeds",
            )
            rows = values[column].reshape(-1, values.shape[-1]).astype(float)
            if column == 0:
                expect_close(
                    setting,
                    alone[0, ...],
                    values[0],
                    f"cotangents of {use.parameter!r} by pull_both",
                    formula="those by cotangents",
                )
            _add_use(setting, found, use, rows)
        expected = _reference(seed)
        for name, values in found.items():
            if name not in uses.unrecognised:
                expect_close(
                    setting,
                    setting.asarray(values.reshape(expected[name].shape)),
                    expected[name],
                    f"Σ g aᵀ of parameter {name!r}, seed {column}",
                    formula="its gradient, by backpropagation by hand",
                    causes="a use counted twice or dropped, cotangents of another seed, inputs after the activation",
                    tolerance=10,
                    facts={"N": 4},
                )


def _add_use(setting: Setting, found: dict[str, np.ndarray], use: cv.Use, rows: np.ndarray) -> None:
    """What one use makes of the gradients; ``rows`` are its cotangents (N · T, d_out)."""
    if use.kind == "shift":
        _add(found, use.parameter, rows.sum(axis=0))
        return
    a = setting.require_own(use.inputs, f"inputs of {use.parameter!r}").reshape(len(rows), -1).astype(float)
    if use.kind == "scale":
        product = (rows * a).sum(axis=0)
    else:
        product = rows.T @ a if use.transposed else a.T @ rows
        expect(
            product.shape == tuple(use.matrix_shape),
            f"Σ g aᵀ of {use.parameter!r}",
            f"shape {product.shape}",
            formula=f"the matrix shape {tuple(use.matrix_shape)}",
            causes="transposed the wrong way round",
        )
    _add(found, use.parameter, product)
    if use.bias:
        _add(found, use.bias, rows.sum(axis=0))


def _add(found: dict[str, np.ndarray], name: str, values: np.ndarray) -> None:
    values = values.reshape(-1)
    found[name] = found[name] + values if name in found else values
