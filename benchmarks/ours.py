"""The operations of this library, on any backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from networks import Network

import curvature as cv


def problem(backend: cv.Backend, network: Network) -> cv.Problem:
    """The benchmark's problem on a backend."""
    x, y = network.data()
    params = [{name: backend.asarray(value) for name, value in layer.items()} for layer in network.parameters()]
    return cv.Problem(cv.Model(network.apply, params), cv.Categorical(), (backend.asarray(x), backend.asarray(y)))


def operations(backend: cv.Backend, network: Network) -> dict[str, Callable[[], Any]]:
    """Every operation, from scratch each time: no forward pass is shared with the one before, save where "repeated" says so."""
    task = problem(backend, network)
    rng = backend.rng(0)
    v = rng.normal((task.space.size,), dtype=task.model.dtype)
    tangent = task.space.unravel(backend.xp, v)
    fisher, ggn, hessian = cv.Fisher(task), cv.GGN(task), cv.Hessian(task)
    empirical, drawn = cv.EmpiricalFisher(task), cv.MonteCarloFisher(task)
    kfac, diagonal = cv.approximation("kfac"), cv.approximation("diagonal")
    linearised = ggn.linearised()

    def loss_gradient_statistics() -> object:
        kept = task.at(keep=True)
        return kept.loss_and_gradient(), cv.estimate(cv.MonteCarloFisher(kept), kfac, backend)

    return {
        "gradient": task.loss_and_gradient,
        "Hessian product": lambda: hessian @ tangent,
        "GGN product": lambda: ggn @ tangent,
        "GGN product, repeated": lambda: linearised @ tangent,
        "Fisher product": lambda: fisher @ tangent,
        "empirical Fisher product": lambda: empirical @ tangent,
        "K-FAC statistics, exact": lambda: cv.estimate(fisher, kfac, backend),
        "K-FAC statistics, Monte Carlo": lambda: cv.estimate(drawn, kfac, backend),
        "K-FAC statistics, empirical": lambda: cv.estimate(empirical, kfac, backend),
        "diagonal of the GGN": lambda: cv.estimate(ggn, diagonal, backend),
        "diagonal empirical Fisher": lambda: cv.estimate(empirical, diagonal, backend),
        "loss + gradient + Monte Carlo K-FAC": loss_gradient_statistics,
    }


def finisher(backend: cv.Backend) -> Callable[[object], None]:
    """Waits until what an operation started has been done: libraries may run behind the program's back."""

    def finish(result: object) -> None:
        for leaf in _arrays(result):
            if hasattr(leaf, "block_until_ready"):  # JAX
                leaf.block_until_ready()
        backend.synchronize()

    return finish


def _arrays(result: object) -> list[Any]:
    if isinstance(result, dict):
        return [leaf for part in result.values() for leaf in _arrays(part)]
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in _arrays(part)]
    return [result]
