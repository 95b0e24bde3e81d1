"""Closed forms of the likelihoods in their outputs, in plain NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class OutputTerms:
    """For each example: -log p (N,), ∂ log p/∂f (N, C), E[score scoreᵀ] and -∂² log p/∂f∂fᵀ (N, C, C)."""

    loss: np.ndarray
    score: np.ndarray
    fisher: np.ndarray
    hessian: np.ndarray


def _diagonal(values: np.ndarray) -> np.ndarray:
    return values[:, :, None] * np.eye(values.shape[1])


def categorical(f: np.ndarray, y: np.ndarray) -> OutputTerms:
    """Softmax: diag(p) - p pᵀ (Martens 2020)."""
    p = np.exp(f - f.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    matrix = _diagonal(p) - p[:, :, None] * p[:, None, :]
    return OutputTerms(-np.log(p[np.arange(len(y)), y]), np.eye(f.shape[1])[y] - p, matrix, matrix)


def bernoulli(f: np.ndarray, y: np.ndarray) -> OutputTerms:
    """Logits: p (1 - p)."""
    p = 1 / (1 + np.exp(-f))
    loss = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=1)
    matrix = _diagonal(p * (1 - p))
    return OutputTerms(loss, y - p, matrix, matrix)


def poisson(f: np.ndarray, y: np.ndarray) -> OutputTerms:
    """Log rates: the rate."""
    rate = np.exp(f)
    factorial = np.vectorize(math.lgamma)(y + 1.0)
    matrix = _diagonal(rate)
    return OutputTerms((rate - y * f + factorial).sum(axis=1), y - rate, matrix, matrix)


def gaussian(f: np.ndarray, y: np.ndarray, variance: float) -> OutputTerms:
    """Means of known variance: 1/variance."""
    constant = 0.5 * f.shape[1] * math.log(2 * math.pi * variance)
    matrix = _diagonal(np.full_like(f, 1 / variance))
    return OutputTerms(((f - y) ** 2).sum(axis=1) / (2 * variance) + constant, (y - f) / variance, matrix, matrix)


def exponential(f: np.ndarray, y: np.ndarray) -> OutputTerms:
    """Log rates: 1."""
    scaled = y * np.exp(f)
    return OutputTerms((scaled - f).sum(axis=1), 1 - scaled, _diagonal(np.ones_like(f)), _diagonal(scaled))


def heteroscedastic(f: np.ndarray, y: np.ndarray) -> OutputTerms:
    """Mean and log variance of one target: diag(1/v, ½); by hand, with v itself rather than its logarithm."""
    v, residual = np.exp(f[:, 1]), y - f[:, 0]
    loss = residual**2 / (2 * v) + 0.5 * np.log(2 * np.pi * v)
    score = np.stack([residual / v, residual**2 / (2 * v) - 0.5], axis=1)
    hessian = _symmetric(1 / v, residual / v, residual**2 / (2 * v))
    return OutputTerms(loss, score, _diagonal(np.stack([1 / v, np.full_like(v, 0.5)], axis=1)), hessian)


def gamma(f: np.ndarray, y: np.ndarray) -> OutputTerms:
    """Log shape and log rate of one target: ((k² ψ'(k), -k), (-k, k))."""
    k, t = np.exp(f[:, 0]), y * np.exp(f[:, 1])
    digamma, trigamma = np.array([_log_moments(shape) for shape in k]).T
    loss = np.vectorize(math.lgamma)(k) - k * np.log(t) + t + np.log(y)
    score = np.stack([k * (np.log(t) - digamma), k - t], axis=1)
    fisher = _symmetric(k**2 * trigamma, -k, k)
    return OutputTerms(loss, score, fisher, _symmetric(k**2 * trigamma - score[:, 0], -k, t))


def _log_moments(shape: float) -> tuple[float, float]:
    """ψ(k) and ψ'(k) as the mean and the variance of log t for t ~ Gamma(k, 1), by the trapezoid rule in z = log t.

    The integrand falls off exponentially on one side and faster on the other, so the rule is exact to rounding.
    """
    z = np.arange(-60 / shape, 6, 0.02)
    density = np.exp(shape * z - np.exp(z))
    density = density / math.fsum(density)
    mean = math.fsum(density * z)
    return mean, math.fsum(density * (z - mean) ** 2)


def von_mises(f: np.ndarray, y: np.ndarray) -> OutputTerms:
    """κ (cos μ, sin μ) of one target: diag(A', A/κ) along and across f, A = I1/I0 by their power series."""
    kappa = np.hypot(f[:, 0], f[:, 1])
    i0, i1 = (sum((kappa / 2) ** (2 * j + n) / (math.factorial(j) * math.factorial(j + n)) for j in range(60)) for n in (0, 1))
    unit, a = f / kappa[:, None], i1 / i0
    across = np.stack([-unit[:, 1], unit[:, 0]], axis=1)
    u = np.stack([np.cos(y), np.sin(y)], axis=1)
    fisher = np.einsum("n,nc,nd->ncd", 1 - a / kappa - a**2, unit, unit) + np.einsum("n,nc,nd->ncd", a / kappa, across, across)
    return OutputTerms(np.log(2 * np.pi * i0) - (f * u).sum(axis=1), u - a[:, None] * unit, fisher, fisher)


def _symmetric(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """2 × 2 matrices ((a, b), (b, c)), (N, 2, 2)."""
    return np.stack([np.stack([a, b], axis=1), np.stack([b, c], axis=1)], axis=1)
