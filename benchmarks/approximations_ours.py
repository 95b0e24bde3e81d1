"""Making and using every approximation of this library."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import ours
from networks import Network

import curvature as cv
from curvature import linalg

DAMPING = 1e-2


def operations(backend: cv.Backend, network: Network) -> dict[str, Callable[[], Any]]:
    """Every operation; statistics from scratch each time."""
    warnings.simplefilter("ignore", cv.CurvatureWarning)
    task = ours.problem(backend, network)
    fisher, ggn, drawn, empirical = cv.Fisher(task), cv.GGN(task), cv.MonteCarloFisher(task), cv.EmpiricalFisher(task)
    gradient = task.gradient()
    kept = {}

    def making(matrix: Any, method: str, **options: Any) -> Callable[[], Any]:
        chosen = cv.approximation(method, **options)
        return lambda: cv.approximate(matrix, chosen)

    def solving(name: str, operator: cv.Operator, damping: float = DAMPING) -> Callable[[], Any]:
        kept[name] = operator
        operator.solve(gradient, damping=damping)
        return lambda: operator.solve(gradient, damping=damping)

    kfac = cv.approximate(drawn, "kfac", gamma=DAMPING**0.5)
    statistics = cv.estimate(drawn, cv.approximation("ekfac"), backend)
    amortised = cv.approximation("ekfac").after(statistics)
    refreshed = cv.approximation("ekfac").after(statistics, "iterate")
    found: dict[str, Callable[[], Any]] = {
        "gradient": task.loss_and_gradient,
        "diagonal of the GGN": making(ggn, "diagonal"),
        "diagonal, Monte Carlo": making(drawn, "diagonal"),
        "diagonal empirical Fisher": making(empirical, "diagonal"),
        "K-FAC, Monte Carlo": making(drawn, "kfac"),
        "K-FAC, exact": making(fisher, "kfac"),
        "K-FAC, Monte Carlo, with certificate": lambda: cv.approximate(drawn, "kfac", certify=True),
        "K-FAC solve": solving("kfac", kfac, 0.0),
        "EKFAC from scratch, Monte Carlo": making(drawn, "ekfac"),
        "EKFAC with kept bases, Monte Carlo": lambda: cv.approximate(drawn, amortised),
        "EKFAC with refreshed bases, Monte Carlo": lambda: cv.approximate(drawn, refreshed),
        "EKFAC solve": solving("ekfac", cv.approximate(drawn, "ekfac")),
        "K-FAC + diagonal + EKFAC, Monte Carlo": lambda: cv.approximate(drawn, ["kfac", "diagonal", "ekfac"]),
        "nearest Kronecker, Monte Carlo": making(drawn, "kron-nearest"),
        "low rank 10": making(ggn, "low-rank", rank=10),
        "sample space, Monte Carlo": making(drawn, "sample-space"),
        "sample space solve": solving("sample-space", cv.approximate(drawn, "sample-space")),
        "conjugate gradients, 10 iterations": _ten_iterations(ggn, gradient),
        "trace, 32 products": lambda: linalg.trace(ggn, tolerance=1e-12, max_products=32),
        "diagonal of the Hessian, 16 products": lambda: linalg.diagonal(cv.Hessian(task), tolerance=1e-12, max_products=16),
    }
    if network.name != "cnn":
        found["KFRA"] = making(ggn, "kfra")
    if network.name == "small":
        found |= {
            "block-diagonal": making(ggn, "block-diagonal"),
            "exact": making(ggn, "exact"),
        }
    return found


def _ten_iterations(matrix: cv.Operator, gradient: Any) -> Callable[[], Any]:
    operator = cv.approximate(matrix, "conjugate-gradients", iterations=10)
    return lambda: operator.solve(gradient, damping=DAMPING)
